import { Button } from "@mantine/core";
import { Command } from "~/ui/Copy";
import { Empty } from "~/ui/Empty";
import { Icon } from "~/ui/icons";
import { useTitle } from "~/ui/PageHead";
import classes from "./SignedOut.module.css";

/** The session is over, or never was. */
export function SignedOut() {
  useTitle("Signed out");
  return (
    <main className={classes.page}>
      <div className={classes.card}>
        <Empty
          icon="lock"
          title="You are signed out"
          testId="signed-out"
          actions={
            <Button variant="default" onClick={() => window.location.reload()} leftSection={<Icon name="reset" />}>
              Try again
            </Button>
          }
        >
          <p>This browser has no session, or it has expired. Run this in a terminal on the server’s machine; it opens the lab signed in:</p>
          <Command text="laser open" />
        </Empty>
      </div>
    </main>
  );
}

import { Button } from "@mantine/core";
import { Command } from "~/ui/Copy";
import { Empty } from "~/ui/Empty";
import { useTitle } from "~/ui/PageHead";
import classes from "./SignedOut.module.css";

/** The session is over, or never was. */
export function SignedOut() {
  useTitle("Signed out");
  return (
    <main className={classes.page}>
      <h1 className="visually-hidden">LASER lab</h1>
      <div className={classes.card}>
        <Empty
          icon="lock"
          title="You are signed out"
          testId="signed-out"
          actions={
            <Button onClick={() => window.location.reload()}>Log in</Button>
          }
        >
          <p>This browser’s session has ended. Log in with a token, or run this in a terminal on the server’s machine; it opens the lab signed in:</p>
          <Command text="laser open" />
        </Empty>
      </div>
    </main>
  );
}

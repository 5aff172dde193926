import { Button } from "@mantine/core";
import { Link, type ErrorComponentProps } from "@tanstack/react-router";
import { Empty } from "~/ui/Empty";
import { Icon } from "~/ui/icons";
import { useTitle } from "~/ui/PageHead";

/** A page that broke: the rest of the app stays usable. */
export function Crash({ error, reset }: ErrorComponentProps) {
  return (
    <Empty
      icon="warning"
      title="This page broke"
      testId="crash"
      actions={
        <>
          <Button onClick={reset} leftSection={<Icon name="reset" />}>
            Try again
          </Button>
          <Button variant="default" component="a" href="/">
            All runs
          </Button>
        </>
      }
    >
      {error instanceof Error ? error.message : String(error)}
    </Empty>
  );
}

export function NotFound() {
  useTitle("Not found");
  return (
    <Empty
      icon="search"
      title="Nothing lives at this address"
      testId="not-found"
      actions={
        <Button variant="default" renderRoot={(props) => <Link to="/" {...props} />}>
          All runs
        </Button>
      }
    >
      The link may be old, or the run was deleted.
    </Empty>
  );
}

import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import { messageOf } from "~/api/client";
import { Icon, type IconName } from "~/ui/icons";
import classes from "./Empty.module.css";

interface Props {
  icon: IconName;
  title: string;
  children?: ReactNode;
  actions?: ReactNode;
  compact?: boolean;
  testId?: string;
}

/** What a page says when it has nothing to show: why, and what to do about it. */
export function Empty({ icon, title, children, actions, compact = false, testId }: Props) {
  return (
    <div className={classes.empty} data-compact={compact || undefined} data-testid={testId ?? "empty"}>
      <div className={classes.icon}>
        <Icon name={icon} size={22} />
      </div>
      <p className={classes.title}>{title}</p>
      {children && <div className={classes.text}>{children}</div>}
      {actions && <div className={classes.actions}>{actions}</div>}
    </div>
  );
}

/** A read that failed, with a way to try again. */
export function Failure({ error, retry, compact }: { error: unknown; retry?: () => void; compact?: boolean }) {
  return (
    <Empty
      icon="warning"
      title="This could not be loaded"
      compact={compact ?? false}
      testId="failure"
      actions={
        retry && (
          <Button variant="default" onClick={retry} leftSection={<Icon name="reset" />}>
            Try again
          </Button>
        )
      }
    >
      <span style={{ whiteSpace: "pre-line" }}>{messageOf(error)}</span>
    </Empty>
  );
}

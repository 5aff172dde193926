import { Button } from "@mantine/core";
import type { ReactNode } from "react";
import type { Problem } from "~/api/model";
import { titled } from "~/form/context";
import { Panel } from "~/ui/Panel";
import classes from "./Form.module.css";

interface Props {
  problems: readonly Problem[];
  isBroken: boolean;
  isPending: boolean;
  about: string | undefined;
  children?: ReactNode;
}

/** The button, and everything that stands in its way with a jump to the field. */
export function SubmitPanel({ problems, isBroken, isPending, about, children }: Props) {
  return (
    <Panel>
      <div className={classes.submit}>
        {about && <p className={classes.note}>{about}</p>}
        {children}
        <Button type="submit" size="md" fullWidth loading={isPending} disabled={isBroken} data-testid="submit">
          Queue this run
        </Button>
        {problems.length > 0 && (
          <ul className={classes.problems} role="alert" data-testid="form-problems">
            {problems.map(({ field, message }) => (
              <li key={field + message}>
                <button type="button" onClick={() => document.getElementById(`field-${field}`)?.focus()}>
                  {field ? `${field.split(".").map(titled).join(" › ")}: ` : ""}
                  {message}
                </button>
              </li>
            ))}
          </ul>
        )}
      </div>
    </Panel>
  );
}

import type { ReactNode } from "react";
import classes from "./Panel.module.css";

interface Props {
  title?: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  flush?: boolean;
  testId?: string;
}

/** A card with an optional title row; ``flush`` lets the content touch its edges. */
export function Panel({ title, aside, children, flush = false, testId }: Props) {
  return (
    <section className={classes.panel} data-testid={testId}>
      {(title || aside) && (
        <header className={classes.head}>
          {typeof title === "string" ? <h2 className={classes.title}>{title}</h2> : <div className={classes.title}>{title}</div>}
          {aside && <div className={classes.aside}>{aside}</div>}
        </header>
      )}
      <div className={flush ? classes.flush : classes.body}>{children}</div>
    </section>
  );
}

import { useEffect, type ReactNode } from "react";
import classes from "./PageHead.module.css";

/** Title row of a page; also names the browser tab. */
export function PageHead({ title, sub, children }: { title: string; sub?: ReactNode; children?: ReactNode }) {
  useTitle(title);
  return (
    <div className={classes.head}>
      <div className={classes.words}>
        <h1 className={classes.title}>{title}</h1>
        {sub && <div className={classes.sub}>{sub}</div>}
      </div>
      {children && <div className={classes.actions}>{children}</div>}
    </div>
  );
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · LASER lab`;
  }, [title]);
}

import type { ReactNode } from "react";
import type { Line } from "~/charts/lines";
import { Panel } from "~/ui/Panel";
import classes from "./ChartPanel.module.css";

interface Props {
  title: string;
  lines: readonly Line[];
  children: ReactNode;
  now?: ReactNode;
}

/** A chart with its legend and newest value. */
export function ChartPanel({ title, lines, children, now }: Props) {
  const shown = lines.filter((line) => !line.isQuiet);
  const entries = [...new Map(shown.map((line) => [line.label, line.color])).entries()];
  return (
    <Panel title={title} aside={now && <span className={`${classes.now} num`}>{now}</span>}>
      {entries.length > 1 && (
        <div className={classes.legend}>
          {entries.slice(0, 12).map(([label, color]) => (
            <span key={label}>
              <i style={{ background: color }} /> {label}
            </span>
          ))}
        </div>
      )}
      {children}
    </Panel>
  );
}

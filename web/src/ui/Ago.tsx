import { useEffect, useState } from "react";
import { ago, moment } from "~/ui/format";

/** Relative time that keeps itself true, the exact one on hover. */
export function Ago({ time }: { time: number | null | undefined }) {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now() / 1000), 15_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <time dateTime={time ? new Date(time * 1000).toISOString() : undefined} title={moment(time)} className="num" style={{ whiteSpace: "nowrap" }}>
      {ago(time, Math.max(now, time ?? 0))}
    </time>
  );
}

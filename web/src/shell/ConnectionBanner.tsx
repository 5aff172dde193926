import { useDebouncedValue } from "@mantine/hooks";
import type { Connection } from "~/api/stream";
import { Icon } from "~/ui/icons";
import classes from "./ConnectionBanner.module.css";

/** Says that what is shown may be old. A blip of under two seconds is not worth a word. */
export function ConnectionBanner({ connection }: { connection: Connection }) {
  const [lasting] = useDebouncedValue(connection, 2000);
  const isLost = connection === "lost" && lasting === "lost";
  return (
    <div role="status" aria-live="polite">
      {isLost && (
        <div className={classes.banner} data-testid="connection-lost">
          <Icon name="offline" />
          Connection lost; what you see may be old. Trying again…
        </div>
      )}
    </div>
  );
}

/** A quiet dot: green while the page follows the server. */
export function LiveDot({ connection }: { connection: Connection }) {
  const words = { open: "Live", connecting: "Connecting", lost: "Reconnecting" }[connection];
  return (
    <span className={classes.live} data-connection={connection} data-testid="live-dot" title={`${words}: updates by itself`}>
      <span className={classes.dot} aria-hidden />
      {words}
    </span>
  );
}

/** One EventSource for a page. It resumes after the last event seen, also where the browser itself gives up. */
import { useDocumentVisibility } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";
import { API, query } from "~/api/client";

export type Connection = "connecting" | "open" | "lost";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;

interface Subscription {
  run?: string | undefined;
  after?: number | undefined;
  kinds: readonly string[];
  onEvent: (kind: string, data: unknown) => void;
  onReconnect?: () => void;
  /** The server refuses the stream: the run may be deleted, the session over. */
  onRefused?: () => void;
}

/**
 * Opens the stream while ``enabled`` and the tab is in sight: a browser lends a server six connections in all, so tabs in
 * the background must give theirs back. Handlers may change between renders without reconnecting.
 */
export function useStream(subscription: Subscription, enabled = true): Connection {
  const [connection, setConnection] = useState<Connection>("connecting");
  const isVisible = useDocumentVisibility() !== "hidden";
  const latest = useRef(subscription);
  const position = useRef<{ run: string | undefined; id: string }>({ run: undefined, id: "" });
  useEffect(() => {
    latest.current = subscription;
  });
  const { run, kinds } = subscription;
  const kindList = kinds.join(" ");
  useEffect(() => {
    if (!enabled || !isVisible) return undefined;
    if (position.current.run !== run || !position.current.id)
      position.current = { run, id: String(latest.current.after ?? "") };
    return open({ run, kinds: kindList.split(" ") }, latest, position.current, setConnection);
  }, [run, kindList, enabled, isVisible]);
  return connection;
}

function open(
  { run, kinds }: { run: string | undefined; kinds: string[] },
  latest: { current: Subscription },
  position: { id: string },
  report: (connection: Connection) => void,
): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = FIRST_WAIT_MS;
  let wasLost = false;

  const connect = () => {
    source = new EventSource(API + query("/stream", { run, after: position.id }));
    source.onopen = () => {
      wait = FIRST_WAIT_MS;
      report("open");
      if (wasLost) latest.current.onReconnect?.();
      wasLost = false;
    };
    source.onerror = () => {
      wasLost = true;
      report("lost");
      if (source?.readyState !== EventSource.CLOSED) return; // the browser retries by itself
      latest.current.onRefused?.();
      timer = setTimeout(connect, wait);
      wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    };
    for (const kind of kinds) {
      source.addEventListener(kind, (event: MessageEvent<string>) => {
        if (event.lastEventId) position.id = event.lastEventId;
        latest.current.onEvent(kind, JSON.parse(event.data));
      });
    }
  };
  connect();
  return () => {
    clearTimeout(timer);
    source?.close();
  };
}

import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLayoutEffect, useRef, useState } from "react";

/** Which of ``count`` rows of one height are near the window, and the height in pixels of those left out around them. */
export function useRowsInSight<T extends HTMLElement>(count: number, height: number) {
  const ref = useRef<T>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const now = Math.round(element.getBoundingClientRect().top + window.scrollY);
    setTop((old) => (Math.abs(old - now) > 1 ? now : old));
  }, [count]);
  const virtual = useWindowVirtualizer({ count, estimateSize: () => height, overscan: 12, scrollMargin: top });
  const items = virtual.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = (items.at(-1)?.index ?? -1) + 1;
  return { ref, rows: { first, last }, before: first * height, after: (count - last) * height };
}

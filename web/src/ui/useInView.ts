import { useEffect, useRef, useState } from "react";

/** Whether the element is within ``margin`` of the window, so that unseen charts cost nothing. */
export function useInView<T extends Element>(margin = "200px") {
  const ref = useRef<T>(null);
  const [isInView, setInView] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    const observer = new IntersectionObserver((entries) => setInView(entries.some((entry) => entry.isIntersecting)), {
      rootMargin: margin,
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [margin]);
  return { ref, isInView };
}

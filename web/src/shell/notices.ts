/** The browser says when a run or an experiment has ended, also from a tab out of sight. What it waits for is kept in it. */
import { useLocalStorage } from "@mantine/hooks";
import { useQueries } from "@tanstack/react-query";
import { ApiError, request } from "~/api/client";
import { exactAccuracy, isFinal, type Report, type Run } from "~/api/model";
import { percent } from "~/ui/format";
import { failed, succeeded } from "~/ui/toast";

const EVERY_MS = 15_000; // no stream: tabs out of sight give theirs back

interface Notice {
  title: string;
  body: string;
}

const GONE: Notice = { title: "", body: "" };

const useAwaited = () => useLocalStorage<string[]>({ key: "awaited", defaultValue: [], getInitialValueInEffect: false });

/** For one page, `/runs/ID` or `/experiments/ID`: whether its end is waited for, and a switch. */
export function useNotice(path: string): [boolean, () => void] {
  const [awaited, setAwaited] = useAwaited();
  const isOn = awaited.includes(path);
  const turn = async () => {
    if (isOn) return setAwaited((paths) => paths.filter((each) => each !== path));
    const refusal = await refused();
    if (refusal) return failed(new Error(refusal));
    setAwaited((paths) => [...paths.filter((each) => each !== path), path]);
    succeeded("You will be told when it has ended, while a tab of this page stays open.");
  };
  return [isOn, () => void turn()];
}

/** Once per tab: looks after everything that is waited for. */
export function useNotices(): void {
  const [awaited, setAwaited] = useAwaited();
  const look = async (path: string) => {
    const notice = await ending(path);
    if (notice === null) return null;
    if (notice !== GONE) tell(path, notice);
    setAwaited((paths) => paths.filter((each) => each !== path));
    return notice;
  };
  useQueries({
    queries: awaited.map((path) => ({
      queryKey: ["ending", path],
      queryFn: () => look(path),
      refetchInterval: EVERY_MS,
      refetchIntervalInBackground: true,
    })),
  });
}

/** Null while it goes on. */
async function ending(path: string): Promise<Notice | null> {
  try {
    return path.startsWith("/runs/") ? ofRun(await request<Run>(path)) : ofExperiment(await request<Report>(path));
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return GONE;
    throw error;
  }
}

function ofRun(run: Run): Notice | null {
  if (!isFinal(run.state)) return null;
  const accuracy = exactAccuracy(run);
  return { title: `${run.name}: ${run.state}`, body: run.reason || (accuracy === null ? "" : `exact accuracy ${percent(accuracy)}`) };
}

function ofExperiment({ experiment, is_over: isOver, sentence }: Report): Notice | null {
  return isOver ? { title: experiment.name, body: sentence } : null;
}

/** Several tabs may say it: the browser shows what has the same tag once. Where it shows none any more, the page does. */
function tell(path: string, { title, body }: Notice): void {
  try {
    if (Notification.permission !== "granted") return succeeded(`${title}. ${body}`);
    const shown = new Notification(title, { body, tag: path, icon: "/favicon.svg" });
    shown.onclick = () => {
      window.focus();
      window.location.assign(path);
    };
  } catch {
    succeeded(`${title}. ${body}`); // such as Chrome for Android, which wants a service worker
  }
}

async function refused(): Promise<string> {
  if (!("Notification" in window)) return "This browser has no notifications here: they need https, or an address of this machine. A webhook can tell you.";
  if ((await Notification.requestPermission()) === "granted") return "";
  return "The browser doesn’t allow notifications from this address; its settings for this site can. A webhook can tell you, too.";
}

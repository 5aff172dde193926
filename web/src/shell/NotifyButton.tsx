import { Button } from "@mantine/core";
import { useNotice } from "~/shell/notices";
import { Icon } from "~/ui/icons";

/** On the page of something that goes on: a browser notification once it has ended. */
export function NotifyButton({ path }: { path: string }) {
  const [isOn, turn] = useNotice(path);
  return (
    <Button
      variant={isOn ? "light" : "default"}
      leftSection={<Icon name="bell" />}
      onClick={turn}
      aria-pressed={isOn}
      title="A notification of the browser once it has ended"
      data-testid="notify"
    >
      {isOn ? "Will notify" : "Notify"}
    </Button>
  );
}

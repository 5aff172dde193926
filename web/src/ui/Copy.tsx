import { ActionIcon, CopyButton, Tooltip } from "@mantine/core";
import { Icon } from "~/ui/icons";
import classes from "./Copy.module.css";

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  return (
    <CopyButton value={text} timeout={1500}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? "Copied" : label}>
          <ActionIcon variant="subtle" color="gray" size="sm" onClick={copy} aria-label={copied ? "Copied" : label}>
            <Icon name={copied ? "check" : "copy"} size={14} />
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** A command to paste into a terminal. */
export function Command({ text }: { text: string }) {
  return (
    <div className={classes.command}>
      <code className="truncate">{text}</code>
      <Copy text={text} label="Copy the command" />
    </div>
  );
}

import { SegmentedControl, Switch } from "@mantine/core";
import { useState } from "react";
import type { JsonObject } from "~/api/model";
import { essence, write, type Notation } from "~/form/useConfig";
import { Command, Copy } from "~/ui/Copy";
import { Panel } from "~/ui/Panel";
import classes from "./Form.module.css";

interface Props {
  value: JsonObject;
  usual: JsonObject;
  draft: { text: string; problem: string | null } | null;
  write: (text: string) => void;
}

/** The configuration as the file that `laser submit` takes; typing here fills the form. */
export function ConfigText({ value, usual, draft, write: onWrite }: Props) {
  const [notation, setNotation] = useState<Notation>("yaml");
  const [isWhole, setWhole] = useState(false);
  const text = draft?.text ?? write(isWhole ? value : essence(value, usual), notation);
  return (
    <Panel
      flush
      title="As a file"
      aside={
        <>
          <Switch size="xs" label="Defaults" checked={isWhole} onChange={(event) => setWhole(event.currentTarget.checked)} />
          <SegmentedControl
            size="xs"
            data={[
              { value: "yaml", label: "YAML" },
              { value: "json", label: "JSON" },
            ]}
            value={notation}
            onChange={(next) => setNotation(next as Notation)}
            aria-label="Notation"
          />
          <Copy text={text} />
        </>
      }
    >
      <textarea
        className={classes.code}
        spellCheck={false}
        aria-label="Configuration as text"
        value={text}
        onChange={(event) => onWrite(event.currentTarget.value)}
        data-testid="config-editor"
      />
      {draft?.problem && (
        <div className={classes.syntax} role="alert">
          {draft.problem}
        </div>
      )}
      <div style={{ padding: "10px 14px 14px", borderTop: "1px solid var(--line)" }}>
        <Command text={`laser submit run.${notation}`} />
      </div>
    </Panel>
  );
}

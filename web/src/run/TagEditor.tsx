import { ActionIcon, Button, Popover, TagsInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import type { Run } from "~/api/model";
import { filterFieldsQuery } from "~/api/queries";
import { useChange } from "~/run/useChange";
import { Icon } from "~/ui/icons";
import { Tags } from "~/ui/Tags";
import classes from "./TagEditor.module.css";

/** The run's tags, and a small form to change them. */
export function TagEditor({ run }: { run: Run }) {
  const readOnly = useReadOnly();
  const [draft, setDraft] = useState<string[] | null>(null);
  const { data: known } = useQuery({ ...filterFieldsQuery(), enabled: draft !== null });
  const change = useChange(run.id, () => setDraft(null));
  const save = () => {
    if (draft === null) return;
    const missing = (from: readonly string[], other: readonly string[]) => from.filter((tag) => !other.includes(tag));
    change.mutate({ add_tags: missing(draft, run.tags), remove_tags: missing(run.tags, draft) });
  };
  if (readOnly) return <Tags tags={run.tags} />;
  return (
    <>
      <Tags tags={run.tags} />
      <Popover opened={draft !== null} onChange={() => setDraft(null)} width={300} shadow="md" trapFocus returnFocus>
        <Popover.Target>
          <ActionIcon variant="subtle" color="gray" size="sm" aria-label="Change tags" onClick={() => setDraft(run.tags)} data-testid="edit-tags">
            <Icon name="tag" size={14} />
          </ActionIcon>
        </Popover.Target>
        <Popover.Dropdown aria-label="Tags" className={classes.form}>
          <TagsInput
            label="Tags"
            maxDropdownHeight={120}
            data={known?.tags ?? []}
            maxTags={16}
            value={draft ?? []}
            onChange={setDraft}
            acceptValueOnBlur
            comboboxProps={{ withinPortal: false }}
            data-autofocus
            data-testid="tags-input"
          />
          <Button size="xs" onClick={save} loading={change.isPending} data-testid="save-tags">
            Save
          </Button>
        </Popover.Dropdown>
      </Popover>
    </>
  );
}

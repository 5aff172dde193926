import { Button, Textarea } from "@mantine/core";
import { lazy, Suspense, useState } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import type { Run } from "~/api/model";
import { useChange } from "~/run/useChange";
import { Icon } from "~/ui/icons";
import classes from "./Note.module.css";

const Markdown = lazy(() => import("~/ui/Markdown"));

/** What people wrote on the run, and a place to write it. */
export function Note({ run }: { run: Run }) {
  const readOnly = useReadOnly();
  const [draft, setDraft] = useState<string | null>(null);
  const change = useChange(run.id, () => setDraft(null));
  if (draft !== null)
    return (
      <form
        className={classes.note}
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate({ note: draft });
        }}
      >
        <Textarea
          label="Note, in Markdown"
          autosize
          minRows={3}
          maxRows={16}
          maxLength={20_000}
          autoFocus
          value={draft}
          onChange={(event) => setDraft(event.currentTarget.value)}
          data-testid="note-text"
        />
        <div className={classes.actions}>
          <Button size="xs" type="submit" loading={change.isPending} data-testid="save-note">
            Save
          </Button>
          <Button size="xs" variant="default" onClick={() => setDraft(null)}>
            Keep as it was
          </Button>
        </div>
      </form>
    );
  if (readOnly && !run.note) return null;
  return (
    <div className={run.note ? classes.note : classes.empty}>
      {run.note && (
        <Suspense fallback={<p className="muted">{run.note.slice(0, 200)}</p>}>
          <Markdown text={run.note} />
        </Suspense>
      )}
      {!readOnly && (
        <Button
          size="compact-xs"
          variant="subtle"
          color="gray"
          leftSection={<Icon name="pencil" size={12} />}
          onClick={() => setDraft(run.note)}
          data-testid="edit-note"
        >
          {run.note ? "Change the note" : "Add a note"}
        </Button>
      )}
    </div>
  );
}

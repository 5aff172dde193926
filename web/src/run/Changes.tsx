import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Checkout, Run } from "~/api/model";
import { checkoutQuery } from "~/api/queries";
import { Command } from "~/ui/Copy";
import { Failure } from "~/ui/Empty";
import { type FileDiff, files, visible } from "~/run/diff";
import classes from "./Changes.module.css";

/** The commit that a run was submitted from, in a few words. */
export function checkoutWords(checkout: Checkout): string {
  const { commit, branch, changed, left_out: missing } = checkout;
  const place = branch ? `${commit.slice(0, 10)} on ${branch}` : commit.slice(0, 10);
  if (!changed) return place;
  return `${place}, with ${changed} changed ${changed === 1 ? "file" : "files"}${missing ? `, ${missing} not kept` : ""}`;
}

/** What had been changed since that commit; loaded when it is opened. */
export function Changes({ run, checkout }: { run: Run; checkout: Checkout }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details className={classes.changes} data-testid="changes" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{checkout.changed ? "Changes since that commit" : "How to have it again"}</summary>
      {isOpen && <Loaded run={run} checkout={checkout} />}
    </details>
  );
}

function Loaded({ run, checkout }: { run: Run; checkout: Checkout }) {
  const found = useQuery(checkoutQuery(run.id));
  if (found.isPending) return <Skeleton height={120} radius="md" />;
  if (found.isError) return <Failure error={found.error} retry={() => void found.refetch()} compact />;
  const { details, diff } = found.data;
  const missing = details.left_out_files.map((file) => `${file.path} (${file.why})`);
  const apply = checkout.size_bytes ? ` && laser checkout ${run.id} | git apply` : "";
  return (
    <div className={classes.body}>
      <Command text={`git checkout ${checkout.commit}${apply}`} />
      {details.remote && <p className="muted">Of {details.remote}</p>}
      <Names title="Changed, but not kept" names={missing} count={details.left_out} />
      <Names title="Not followed by git" names={details.untracked_names} count={details.untracked} />
      {files(diff).map((file, place) => (
        <FileChanges key={place} file={file} />
      ))}
    </div>
  );
}

function Names({ title, names, count }: { title: string; names: readonly string[]; count: number }) {
  if (!count) return null;
  const more = count > names.length ? ` and ${count - names.length} more` : "";
  return (
    <p className="muted">
      {title}: {names.map(visible).join(", ")}
      {more}
    </p>
  );
}

function FileChanges({ file }: { file: FileDiff }) {
  return (
    <section className={classes.file}>
      <h3>
        <span className="mono">{visible(file.name)}</span>
        <span className="num faint">
          {file.note} +{file.added} −{file.removed}
        </span>
      </h3>
      {file.lines.length > 0 && (
        <pre tabIndex={0} aria-label={`Changes of ${visible(file.name)}`}>
          {file.lines.map((line, place) => (
            <span key={place} data-kind={line[0]}>
              {visible(line)}
              {"\n"}
            </span>
          ))}
        </pre>
      )}
    </section>
  );
}

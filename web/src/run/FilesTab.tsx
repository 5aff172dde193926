import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { API } from "~/api/client";
import type { Artifact, Run } from "~/api/model";
import { artifactsQuery } from "~/api/queries";
import { Copy } from "~/ui/Copy";
import { Empty, Failure } from "~/ui/Empty";
import { bytes, count } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { Panel } from "~/ui/Panel";
import classes from "./FilesTab.module.css";

export default function FilesTab({ run }: { run: Run }) {
  const files = useQuery(artifactsQuery(run.id));
  if (files.isPending) return <Skeleton height={200} radius="lg" />;
  if (files.isError) return <Failure error={files.error} retry={() => void files.refetch()} />;
  if (!files.data.items.length) {
    return (
      <Empty icon="file" title="No files" compact testId="no-files">
        Checkpoints and reports appear here as they are saved. The newest two checkpoints are kept.
      </Empty>
    );
  }
  const folders = Map.groupBy(files.data.items, (file) => file.folder);
  return (
    <div style={{ display: "grid", gap: 14 }}>
      {[...folders].map(([folder, items]) => (
        <Panel key={folder} flush title={<b className="mono">{folder || "report"}</b>} aside={folder && <span className="faint num">step {count(items[0]?.step)}</span>}>
          <ul className={classes.list}>
            {items.map((file) => (
              <FileRow key={file.id} file={file} />
            ))}
          </ul>
        </Panel>
      ))}
    </div>
  );
}

function FileRow({ file }: { file: Artifact }) {
  return (
    <li data-testid="file">
      <Icon name="file" />
      {file.size_bytes === null ? (
        <span className="muted">{file.name}</span>
      ) : (
        <a href={`${API}/artifacts/${file.id}`} download className="plain-link">
          {file.name}
        </a>
      )}
      <span className={`${classes.hash} mono faint`} title={`sha256 ${file.sha256}`}>
        {file.sha256.slice(0, 16)}
        <Copy text={file.sha256} label="Copy the sha256" />
      </span>
      <span className="num muted">{file.size_bytes === null ? "deleted" : bytes(file.size_bytes)}</span>
    </li>
  );
}

import { Skeleton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { API } from "~/api/client";
import { isFinal, type Artifact, type Run } from "~/api/model";
import { artifactsQuery } from "~/api/queries";
import { Copy } from "~/ui/Copy";
import { Empty, Failure } from "~/ui/Empty";
import { bytes, count } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { Panel } from "~/ui/Panel";
import classes from "./FilesTab.module.css";

export default function FilesTab({ run }: { run: Run }) {
  return (
    <div style={{ display: "grid", gap: 14 }}>
      <Exports run={run} />
      <Saved run={run} />
    </div>
  );
}

/** The run's tables, and once it has ended all of it. */
function Exports({ run }: { run: Run }) {
  const tables = run.kind === "train" ? ["metrics", "traces"] : ["metrics"];
  return (
    <Panel title="Export" flush testId="exports">
      <ul className={classes.list}>
        {tables.map((table) => (
          <li key={table}>
            <Icon name="data" />
            <span>{table === "metrics" ? "Every point of every metric" : "Every update of every tracked basis"}</span>
            <span className={classes.links}>
              <ExportLink run={run} name={`${table}.csv`} />
              <ExportLink run={run} name={`${table}.parquet`} />
            </span>
          </li>
        ))}
        <li>
          <Icon name="download" />
          <span>
            Everything in one file, for another installation: <code>laser import</code>
          </span>
          <span className={classes.links}>{isFinal(run.state) ? <ExportLink run={run} name="archive" /> : <span className="faint">once it has ended</span>}</span>
        </li>
      </ul>
    </Panel>
  );
}

function ExportLink({ run, name }: { run: Run; name: string }) {
  return (
    <a href={`${API}/runs/${run.id}/${name}`} download className="plain-link" data-testid={`export-${name}`}>
      {name}
    </a>
  );
}

function Saved({ run }: { run: Run }) {
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
    <>
      {[...folders].map(([folder, items]) => (
        <Panel key={folder} flush title={<b className="mono">{folder || "report"}</b>} aside={folder && <span className="faint num">step {count(items[0]?.step)}</span>}>
          <ul className={classes.list}>
            {items.map((file) => (
              <FileRow key={file.id} file={file} />
            ))}
          </ul>
        </Panel>
      ))}
    </>
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

import { ActionIcon, Skeleton, Tooltip } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { request } from "~/api/client";
import type { Dataset } from "~/api/model";
import { datasetsQuery, meQuery } from "~/api/queries";
import { Preview } from "~/datasets/Preview";
import { Upload } from "~/datasets/Upload";
import { datasetsRoute } from "~/router";
import { Ago } from "~/ui/Ago";
import { Copy } from "~/ui/Copy";
import { Empty, Failure } from "~/ui/Empty";
import { bytes, count } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { PageHead } from "~/ui/PageHead";
import { Panel } from "~/ui/Panel";
import { failed, succeeded } from "~/ui/toast";
import { useConfirm } from "~/ui/useConfirm";
import classes from "./Datasets.module.css";

export function DatasetsPage() {
  const { id } = datasetsRoute.useSearch();
  const navigate = useNavigate();
  const readOnly = useReadOnly();
  const datasets = useQuery(datasetsQuery());
  const open = (next: string | undefined) => void navigate({ to: "/datasets", search: { id: next }, replace: true, resetScroll: false });
  const shown = datasets.data?.items.find((dataset) => dataset.id === id);
  return (
    <>
      <PageHead title="Datasets" sub="Sudoku or mazes as CSV with the header source,q,a,rating. Every row is checked before anything is kept." />
      <div className={classes.page}>
        {!readOnly && <Upload onUploaded={open} />}
        {datasets.isPending && <Skeleton height={160} radius="lg" />}
        {datasets.isError && <Failure error={datasets.error} retry={() => void datasets.refetch()} />}
        {datasets.data?.items.length === 0 && (
          <Empty icon="data" title="No dataset yet" compact testId="no-datasets">
            {readOnly ?? (
              <>
                Drop a file above, or use <code>laser datasets add train.csv</code>. Generated Sudokus need no dataset.
              </>
            )}
          </Empty>
        )}
        {datasets.data && datasets.data.items.length > 0 && (
          <Panel flush>
            <ul className={classes.list}>
              {datasets.data.items.map((dataset) => (
                <Row key={dataset.id} dataset={dataset} isOpen={dataset.id === id} open={open} />
              ))}
            </ul>
          </Panel>
        )}
        {shown && <Preview dataset={shown} />}
      </div>
    </>
  );
}

function Row({ dataset, isOpen, open }: { dataset: Dataset; isOpen: boolean; open: (id: string | undefined) => void }) {
  const client = useQueryClient();
  const [confirm, dialog] = useConfirm();
  const readOnly = useReadOnly();
  const { data: me } = useQuery(meQuery());
  const isOthers = me?.role !== "admin" && dataset.owner !== me?.id;
  const remove = useMutation({
    mutationFn: () => request<undefined>(`/datasets/${dataset.id}`, { method: "DELETE" }),
    onSuccess: async () => {
      succeeded(`Deleted ${dataset.name}`);
      if (isOpen) open(undefined);
      await client.invalidateQueries({ queryKey: ["datasets"] });
    },
    onError: failed,
  });
  const askDelete = () =>
    confirm({ title: `Delete ${dataset.name}?`, text: "Runs that have used it keep their results. This can’t be undone.", action: "Delete for good", isDangerous: true, onConfirm: () => remove.mutate() });
  return (
    <li data-testid="dataset-row" data-open={isOpen || undefined}>
      <button type="button" className={classes.name} aria-expanded={isOpen} onClick={() => open(isOpen ? undefined : dataset.id)}>
        <Icon name="chevron" size={14} style={{ transform: isOpen ? "rotate(90deg)" : undefined, transition: "transform 0.15s" }} />
        <span className="truncate">{dataset.name}</span>
      </button>
      <span className={`${classes.id} mono faint`}>
        {dataset.id} <Copy text={dataset.id} label="Copy the id" />
      </span>
      <span className="num">{count(dataset.rows)} puzzles</span>
      <span className="num muted">
        {dataset.size}×{dataset.size}
      </span>
      <span className={`${classes.size} num muted`}>{bytes(dataset.size_bytes)}</span>
      <span className={`${classes.size} muted`}>
        <Ago time={dataset.created_at} />
      </span>
      {!readOnly && (
        <Tooltip label={isOthers ? "Somebody else’s: its owner or an admin may delete it" : "Delete"}>
          <ActionIcon
            variant="subtle"
            color="gray"
            onClick={isOthers ? undefined : askDelete}
            aria-disabled={isOthers}
            data-disabled={isOthers || undefined}
            loading={remove.isPending}
            aria-label={`Delete ${dataset.name}`}
            data-testid="delete-dataset"
          >
            <Icon name="trash" size={15} />
          </ActionIcon>
        </Tooltip>
      )}
      {dialog}
    </li>
  );
}

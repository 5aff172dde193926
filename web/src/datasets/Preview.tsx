import { Skeleton, Switch } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Dataset } from "~/api/model";
import { previewQuery } from "~/api/queries";
import { PuzzleGrid } from "~/datasets/PuzzleGrid";
import { Failure } from "~/ui/Empty";
import { Panel } from "~/ui/Panel";
import classes from "./Datasets.module.css";

/** The first puzzles, drawn. */
export function Preview({ dataset }: { dataset: Dataset }) {
  const preview = useQuery(previewQuery(dataset.id, 8));
  const [isSolved, setSolved] = useState(false);
  return (
    <Panel
      title={`First puzzles of ${dataset.name}`}
      aside={<Switch size="xs" label="Solutions" checked={isSolved} onChange={(event) => setSolved(event.currentTarget.checked)} />}
      testId="dataset-preview"
    >
      {preview.isPending && <Skeleton height={200} />}
      {preview.isError && <Failure error={preview.error} compact />}
      <div className={classes.grids}>
        {preview.data?.items.map((row, i) => (
          <figure key={i} className={classes.figure}>
            <PuzzleGrid size={dataset.size} question={row.question} answer={row.answer} isSolved={isSolved} />
            <figcaption className="truncate" title={row.source}>
              {row.source || `Puzzle ${i + 1}`}
              {row.rating !== null && <span className={`${classes.rating} num`}>rating {row.rating}</span>}
            </figcaption>
          </figure>
        ))}
      </div>
    </Panel>
  );
}

import { Loader } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRef, useState, type DragEvent } from "react";
import { ApiError, messageOf, request } from "~/api/client";
import type { Dataset } from "~/api/model";
import { count } from "~/ui/format";
import { Icon } from "~/ui/icons";
import { succeeded } from "~/ui/toast";
import classes from "./Datasets.module.css";

/** Drop a file, or choose one. What is wrong with it stays until the next try. */
export function Upload({ onUploaded }: { onUploaded: (id: string) => void }) {
  const client = useQueryClient();
  const input = useRef<HTMLInputElement>(null);
  const [isOver, setOver] = useState(false);
  const upload = useMutation({
    mutationFn: (file: File) => {
      const form = new FormData();
      form.append("file", file, file.name);
      return request<Dataset>("/datasets", { method: "POST", form });
    },
    onSuccess: async (dataset) => {
      succeeded(`${dataset.name}: ${count(dataset.rows)} puzzles`);
      await client.invalidateQueries({ queryKey: ["datasets"] });
      onUploaded(dataset.id);
    },
  });
  const take = (files: FileList | null) => {
    const file = files?.[0];
    if (file) upload.mutate(file);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files);
  };
  return (
    <div>
      <button
        type="button"
        className={classes.drop}
        data-over={isOver || undefined}
        disabled={upload.isPending}
        onClick={() => input.current?.click()}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
        data-testid="dropzone"
      >
        {upload.isPending ? <Loader size={22} /> : <Icon name="upload" size={22} />}
        <b>{upload.isPending ? `Checking ${upload.variables.name}…` : "Drop a CSV file here, or choose one"}</b>
        <span>source,q,a,rating · one Sudoku (“.” for a blank cell) or maze (“# SGo”) a line</span>
      </button>
      <input
        ref={input}
        type="file"
        accept=".csv,text/csv"
        hidden
        aria-label="CSV file"
        data-testid="file-input"
        onChange={(event) => {
          take(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
      {upload.isError && <Refused error={upload.error} file={upload.variables.name} />}
    </div>
  );
}

function Refused({ error, file }: { error: unknown; file: string }) {
  const problems = error instanceof ApiError ? error.errors : [];
  return (
    <div className={classes.refused} role="alert" data-testid="upload-error">
      <Icon name="warning" />
      <div>
        <b>{file} was not kept</b>
        {problems.length > 0 ? (
          <ul>
            {problems.map(({ field, message }) => (
              <li key={field + message}>
                {field && <code>{field.replace(/^(line \d+)\./, "$1, ")}</code>} {message}
              </li>
            ))}
          </ul>
        ) : (
          <p>{messageOf(error)}</p>
        )}
      </div>
    </div>
  );
}

import { NativeSelect, NumberInput, TextInput } from "@mantine/core";
import type { Asked } from "~/run/actions";
import classes from "./Form.module.css";

/** What belongs to the request, not to the configuration: whose turn it is, where, for how long, after what. */
export function AskedFields({ asked, change }: { asked: Asked; change: (asked: Asked) => void }) {
  return (
    <details className={classes.asked} data-testid="asked">
      <summary>Priority, place and time</summary>
      <NativeSelect
        label="Band"
        size="xs"
        data={["high", "normal", "low"]}
        value={asked.priority}
        onChange={(event) => change({ ...asked, priority: event.currentTarget.value as Asked["priority"] })}
        data-testid="asked-priority"
      />
      <TextInput
        label="Pool"
        description="Only a worker with this label takes it."
        size="xs"
        value={asked.pool}
        onChange={(event) => change({ ...asked, pool: event.currentTarget.value.trim() })}
        data-testid="asked-pool"
      />
      <NumberInput
        label="Time limit in hours"
        description="Then it ends, with its last checkpoint kept."
        size="xs"
        min={0}
        value={asked.time_limit_s === undefined ? "" : asked.time_limit_s / 3600}
        onChange={(hours) => change({ ...asked, time_limit_s: typeof hours === "number" && hours > 0 ? hours * 3600 : undefined })}
        data-testid="asked-time-limit"
      />
      <NumberInput
        label="GPUs"
        description="Devices of one worker that train it together, each with its share of every batch."
        size="xs"
        min={1}
        max={8}
        allowDecimal={false}
        value={asked.gpus ?? 1}
        onChange={(count) => change({ ...asked, gpus: typeof count === "number" && count > 1 ? count : undefined })}
        data-testid="asked-gpus"
      />
      <NumberInput
        label="Device memory in MiB"
        description="On each of several; empty lets it be guessed from the configuration."
        size="xs"
        min={1}
        allowDecimal={false}
        value={asked.gpu_memory ?? ""}
        onChange={(mib) => change({ ...asked, gpu_memory: typeof mib === "number" && mib > 0 ? mib : undefined })}
        data-testid="asked-memory"
      />
      <TextInput
        label="After"
        description="Ids of runs, with commas between, that must have succeeded."
        size="xs"
        value={asked.after}
        onChange={(event) => change({ ...asked, after: event.currentTarget.value.replace(/\s/g, "") })}
        data-testid="asked-after"
      />
    </details>
  );
}

import { CloseButton, Select } from "@mantine/core";
import type { RunsSearch } from "~/router";
import { FilterBox } from "~/runs/FilterBox";
import { variantColor } from "~/ui/variants";
import classes from "./Runs.module.css";

const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const STORES = ["none", "checkpoint", "laser", "laser-fused", "laser-coded", "quant", "asi", "random", "auto"];

interface Props {
  search: RunsSearch;
  setSearch: (patch: Partial<RunsSearch>) => void;
  error: unknown;
}

export function Filters({ search, setSearch, error }: Props) {
  const states = search.state ?? [];
  const toggleState = (state: string) => {
    const next = states.includes(state) ? states.filter((s) => s !== state) : [...states, state];
    setSearch({ state: next.length ? next : undefined });
  };
  return (
    <div className={classes.filters} role="search">
      <FilterBox value={search.filter ?? ""} onChange={(filter) => setSearch({ filter: filter || undefined })} error={error} />
      <div className={classes.chips} role="group" aria-label="States">
        {STATES.map((state) => (
          <button
            key={state}
            type="button"
            className={classes.chip}
            aria-pressed={states.includes(state)}
            onClick={() => toggleState(state)}
            data-testid={`filter-state-${state}`}
          >
            {state}
          </button>
        ))}
      </div>
      <Select
        aria-label="Activation store"
        placeholder="Any store"
        w={150}
        clearable
        data={STORES}
        value={search.store ?? null}
        onChange={(store) => setSearch({ store: store ?? undefined })}
        data-testid="filter-store"
        renderOption={({ option }) => (
          <span className={classes.option}>
            <i style={{ background: variantColor(option.value) }} /> {option.label}
          </span>
        )}
      />
      {search.tag?.map((tag) => (
        <span key={tag} className={classes.active}>
          tag: {tag}
          <CloseButton
            size="xs"
            aria-label={`Remove the filter for tag ${tag}`}
            onClick={() => setSearch({ tag: search.tag?.filter((t) => t !== tag) })}
          />
        </span>
      ))}
    </div>
  );
}

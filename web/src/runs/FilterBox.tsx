import { Combobox, TextInput, useCombobox } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { ApiError } from "~/api/client";
import { filterFieldsQuery } from "~/api/queries";
import { complete } from "~/runs/complete";
import { Icon } from "~/ui/icons";
import classes from "./FilterBox.module.css";

interface Props {
  value: string;
  onChange: (filter: string) => void;
  error: unknown;
}

/** One line in the filter language, with what could stand at the caret, and the server's words about what it can't read. */
export function FilterBox({ value, onChange, error }: Props) {
  const [draft, setDraft] = useState(value);
  const [seen, setSeen] = useState(value);
  const [sent, setSent] = useState(value);
  const [caret, setCaret] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const combobox = useCombobox({ onDropdownClose: () => combobox.resetSelectedOption() });
  const { data: known } = useQuery(filterFieldsQuery());
  const apply = (text: string) => {
    setSent(text);
    onChange(text);
  };
  const applySoon = useDebouncedCallback(apply, 350);
  if (value !== seen) {
    setSeen(value);
    if (value !== sent) setDraft(value); // the address changed by other means than typing here
  }
  const { from, offers } = complete(draft, caret, known);
  const write = (text: string, at: number) => {
    setDraft(text);
    setCaret(at);
    applySoon(text);
  };
  const take = (offer: string) => {
    const isWhole = !/[:.]$/.test(offer) && /[:=~<>][^\s]*$/.test(draft.slice(0, from));
    const text = `${draft.slice(0, from)}${offer}${isWhole ? " " : ""}`;
    write(text + draft.slice(caret), text.length);
    requestAnimationFrame(() => input.current?.setSelectionRange(text.length, text.length));
  };
  return (
    <div className={classes.box}>
      <Combobox store={combobox} onOptionSubmit={take} position="bottom-start" width={420} shadow="md">
        <Combobox.Target>
          <TextInput
            ref={input}
            leftSection={<Icon name="search" />}
            placeholder="Filter: words, state:running, metric.exact_accuracy>0.9 …"
            aria-label="Filter runs"
            spellCheck={false}
            autoComplete="off"
            maxLength={2000}
            classNames={{ input: classes.input }}
            value={draft}
            error={Boolean(problemIn(error))}
            onChange={(event) => {
              write(event.currentTarget.value, event.currentTarget.selectionStart ?? event.currentTarget.value.length);
              combobox.openDropdown();
              combobox.resetSelectedOption();
            }}
            onSelect={(event) => setCaret(event.currentTarget.selectionStart ?? 0)}
            onFocus={() => combobox.openDropdown()}
            onClick={() => combobox.openDropdown()}
            onBlur={() => combobox.closeDropdown()}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || combobox.getSelectedOptionIndex() >= 0) return;
              combobox.closeDropdown();
              applySoon.cancel();
              apply(draft);
            }}
            data-testid="filter-text"
          />
        </Combobox.Target>
        <Combobox.Dropdown hidden={offers.length === 0}>
          <Combobox.Options mah={320} style={{ overflowY: "auto" }} aria-label="What can stand here">
            {offers.map((offer) => (
              <Combobox.Option key={offer.text} value={offer.text} className={classes.offer} data-testid="filter-offer">
                <span className="mono">{offer.text}</span>
                <span className={classes.help}>{offer.help}</span>
              </Combobox.Option>
            ))}
          </Combobox.Options>
        </Combobox.Dropdown>
      </Combobox>
      <FilterProblem error={error} text={value} />
    </div>
  );
}

function problemIn(error: unknown): string | null {
  return error instanceof ApiError ? (error.errors.find((each) => each.field === "filter")?.message ?? null) : null;
}

/** The server's message, over the text with the column at fault marked. */
function FilterProblem({ error, text }: { error: unknown; text: string }) {
  const problem = problemIn(error);
  if (!problem) return null;
  const column = Number(/^column (\d+)/.exec(problem)?.[1] ?? 0);
  return (
    <div className={classes.problem} role="alert" data-testid="filter-problem">
      {column > 0 && (
        <code>
          {text.slice(0, column - 1)}
          <mark>{text.slice(column - 1, column) || " "}</mark>
          {text.slice(column)}
        </code>
      )}
      <span>{problem}</span>
    </div>
  );
}

/** Whether an error is one that the box itself shows. */
export const isFilterProblem = (error: unknown) => problemIn(error) !== null;

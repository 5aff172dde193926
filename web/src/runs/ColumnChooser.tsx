import { Button, Checkbox, Popover, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { filterFieldsQuery } from "~/api/queries";
import { COLUMNS, USUAL } from "~/runs/columns";
import { Icon } from "~/ui/icons";
import classes from "./ColumnChooser.module.css";

interface Props {
  ids: readonly string[];
  isUsual: boolean;
  choose: (ids: string[] | null) => void;
}

/** Which columns the table shows: kept on this device and in the address. */
export function ColumnChooser({ ids, isUsual, choose }: Props) {
  const { data: known } = useQuery(filterFieldsQuery());
  const [words, setWords] = useState("");
  const groups = [
    { title: "Of the run", items: COLUMNS.map(({ id, title }) => ({ id, title })) },
    { title: "Metrics", items: (known?.metrics ?? []).map((key) => ({ id: `metric.${key}`, title: key })) },
    {
      title: "Configuration",
      items: (known?.fields ?? []).filter((f) => f.name.startsWith("config.")).map((f) => ({ id: f.name, title: f.name.slice(7) })),
    },
  ];
  const toggle = (id: string) => {
    const next = ids.includes(id) ? ids.filter((each) => each !== id) : [...ids, id];
    choose(next.join() === USUAL.join() ? null : next);
  };
  return (
    <Popover position="bottom-end" shadow="md" width={280} trapFocus returnFocus>
      <Popover.Target>
        <Button variant="default" leftSection={<Icon name="columns" />} data-testid="columns">
          Columns
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label="Columns" data-testid="column-chooser">
        <TextInput
          placeholder="Find a column"
          aria-label="Find a column"
          leftSection={<Icon name="search" />}
          value={words}
          onChange={(event) => setWords(event.currentTarget.value)}
        />
        <div className={classes.list} tabIndex={0} role="group" aria-label="Columns to show">
          {groups.map(({ title, items }) => {
            const fitting = items.filter((item) => `${title} ${item.title}`.toLowerCase().includes(words.toLowerCase()));
            return (
              fitting.length > 0 && (
                <fieldset key={title} className={classes.group}>
                  <legend>{title}</legend>
                  {fitting.map((item) => (
                    <Checkbox
                      key={item.id}
                      size="xs"
                      label={item.title}
                      checked={ids.includes(item.id)}
                      onChange={() => toggle(item.id)}
                      data-testid={`column-${item.id}`}
                    />
                  ))}
                </fieldset>
              )
            );
          })}
        </div>
        <Button variant="subtle" size="xs" fullWidth disabled={isUsual} onClick={() => choose(null)}>
          The usual columns
        </Button>
      </Popover.Dropdown>
    </Popover>
  );
}

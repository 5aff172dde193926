import { Button, Checkbox, Skeleton, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { someRunsQuery } from "~/api/queries";
import { Accuracy } from "~/runs/columns";
import { Empty, Failure } from "~/ui/Empty";
import { Icon } from "~/ui/icons";
import { Panel } from "~/ui/Panel";
import { StateBadge } from "~/ui/StateBadge";
import { Tags } from "~/ui/Tags";
import { Variant } from "~/ui/variants";
import classes from "./Compare.module.css";

/** Chooses runs to compare, one by one or by a tag they share. */
export function RunPicker() {
  const [text, setText] = useState("");
  const [wanted] = useDebouncedValue(text, 250);
  const runs = useQuery({ ...someRunsQuery({ text: wanted, kind: "train" }, 60), placeholderData: (old) => old });
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const flip = (id: string) => setChosen((old) => (old.includes(id) ? old.filter((held) => held !== id) : [...old, id]));
  if (runs.isPending) return <Skeleton height={300} radius="lg" />;
  if (runs.isError) return <Failure error={runs.error} retry={() => void runs.refetch()} />;
  const tags = [...new Set(runs.data.items.flatMap((run) => run.tags))].slice(0, 8);
  return (
    <Panel
      flush
      title={<TextInput size="xs" w={230} leftSection={<Icon name="search" size={14} />} placeholder="Search runs" aria-label="Search runs" value={text} onChange={(event) => setText(event.currentTarget.value)} />}
      aside={
        <Button size="xs" disabled={chosen.length < 2} renderRoot={(props) => <Link to="/compare" search={{ run: [...chosen] }} {...props} />} data-testid="compare-chosen">
          Compare {chosen.length || ""}
        </Button>
      }
    >
      {tags.length > 0 && (
        <div className={classes.tags}>
          All of one tag:
          {tags.map((tag) => (
            <Link key={tag} to="/compare" search={{ tag: [tag] }} className={classes.seed}>
              {tag}
            </Link>
          ))}
        </div>
      )}
      {runs.data.items.length === 0 && <Empty compact icon="compare" title="No training run to choose">Runs appear here once they are queued.</Empty>}
      <ul className={classes.picker}>
        {runs.data.items.map((run) => (
          <li key={run.id}>
            <Checkbox
              size="xs"
              checked={chosen.includes(run.id)}
              onChange={() => flip(run.id)}
              label={run.name}
              classNames={{ labelWrapper: "truncate" }}
              data-testid={`pick-${run.id}`}
            />
            <span className={classes.pickTags}>
              <Tags tags={run.tags} />
            </span>
            <Variant store={run.store_kind} />
            <span className="num">
              <Accuracy run={run} />
            </span>
            <StateBadge state={run.state} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}

import { useQueries } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Run } from "~/api/model";
import { runQuery } from "~/api/queries";
import { flatten } from "~/form/json";
import { Panel } from "~/ui/Panel";
import classes from "./Compare.module.css";

// Differ without meaning anything for the result.
const WORDS = new Set(["name", "tags"]);

/** Only the settings in which the runs are not all alike. */
export function ConfigDifference({ ids }: { ids: readonly string[] }) {
  const runs = useQueries({ queries: ids.map((id) => runQuery(id)) }).flatMap((result) => (result.data ? [result.data] : []));
  return runs.length === ids.length ? <Difference runs={runs} /> : null;
}

function Difference({ runs }: { runs: readonly Run[] }) {
  const flat = runs.map((run) => flatten(run.config));
  const names = [...new Set(flat.flatMap((config) => [...config.keys()]))];
  const differing = names.filter((name) => !WORDS.has(name) && new Set(flat.map((config) => config.get(name))).size > 1);
  return (
    <Panel flush title="What differs in the configuration" testId="config-difference">
      {differing.length === 0 ? (
        <p className={classes.noPairs}>Nothing: the configurations are the same.</p>
      ) : (
        <div className={classes.scroll} tabIndex={0} role="region" aria-label="Differences of the configurations">
          <table className={`${classes.table} num`}>
            <thead>
              <tr>
                <th>Setting</th>
                {runs.map((run) => (
                  <th key={run.id}>
                    <Link to="/runs/$id" params={{ id: run.id }} className="plain-link" title={run.name}>
                      #{run.number}
                    </Link>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {differing.map((name) => (
                <tr key={name}>
                  <td className="mono">{name}</td>
                  {flat.map((config, i) => (
                    <td key={runs[i]?.id} className="mono">
                      {config.get(name)?.replace(/^"|"$/g, "") ?? <span className="faint">–</span>}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

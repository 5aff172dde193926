import { Button, Menu, Skeleton } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { API } from "~/api/client";
import type { Experiment, Report } from "~/api/model";
import { experimentQuery } from "~/api/queries";
import { cancelExperiment, deleteExperiment } from "~/experiments/actions";
import { FrontPlot } from "~/experiments/FrontPlot";
import { GroupTable } from "~/experiments/GroupTable";
import { Members } from "~/experiments/Members";
import { Verdict } from "~/experiments/Verdict";
import { experimentRoute } from "~/router";
import { NotifyButton } from "~/shell/NotifyButton";
import { Ago } from "~/ui/Ago";
import { Failure } from "~/ui/Empty";
import { Icon } from "~/ui/icons";
import { PageHead } from "~/ui/PageHead";
import { Panel } from "~/ui/Panel";
import { failed, succeeded } from "~/ui/toast";
import { useConfirm } from "~/ui/useConfirm";
import classes from "./Experiments.module.css";

/** What the experiment shows, in words first; live while its runs go on. */
export function ExperimentPage() {
  const { id } = experimentRoute.useParams();
  const report = useQuery({
    ...experimentQuery(id),
    refetchInterval: ({ state: { data } }) => (!data || data.is_over ? false : data.experiment.runs > 100 ? 10_000 : 2500),
  });
  if (report.isError && !report.data) return <Failure error={report.error} retry={() => void report.refetch()} />;
  if (!report.data) return <Skeleton height={420} radius="lg" />;
  const { experiment, sentence, groups, verdicts, left_out: leftOut } = report.data;
  return (
    <>
      <PageHead title={experiment.name} sub={<Facts experiment={experiment} />}>
        <Actions report={report.data} />
      </PageHead>
      <div className={classes.page}>
        <blockquote className={classes.sentence} data-verdict={verdicts.length === 1 ? verdicts[0]?.verdict : undefined} data-testid="sentence">
          {sentence}
        </blockquote>
        <States states={experiment.states} runs={experiment.runs} />
        {verdicts.map((judged) => (
          <Verdict key={judged.variant} judged={judged} isOver={report.data.is_over} />
        ))}
        {verdicts.length > 1 && <p className={classes.note}>Each of these {verdicts.length} verdicts has its own 5 % chance of a false alarm.</p>}
        <FrontPlot groups={groups} />
        <GroupTable groups={groups} verdicts={verdicts} />
        {leftOut.length > 0 && (
          <Panel title="Left out">
            <ul className={classes.leftOut}>
              {leftOut.map((line) => (
                <li key={line}>{line}</li>
              ))}
            </ul>
          </Panel>
        )}
        <Members groups={groups} />
      </div>
    </>
  );
}

function Facts({ experiment }: { experiment: Experiment }) {
  return (
    <span className={classes.facts}>
      <span>
        margin {experiment.margin} {experiment.margin === 1 ? "point" : "points"} of {experiment.metric.replace("_", " ")}, fixed
      </span>
      <span>baseline {experiment.baseline}</span>
      <Link to="/" search={{ tag: [experiment.id] }} className={classes.link}>
        {experiment.runs} runs
      </Link>
      <span>
        by {experiment.owner_name}, <Ago time={experiment.created_at} />
      </span>
    </span>
  );
}

const order = ["succeeded", "running", "starting", "failed", "cancelled"];

/** How many runs are in which state, as a bar and in words. */
export function States({ states, runs }: { states: Experiment["states"]; runs: number }) {
  const shown = Object.entries(states).sort(([a], [b]) => (order.indexOf(a) + 1 || 9) - (order.indexOf(b) + 1 || 9));
  return (
    <div>
      <div className={classes.bar} aria-hidden>
        {shown.map(([state, count]) => (
          <i key={state} data-state={state} style={{ width: `${(100 * count) / Math.max(1, runs)}%` }} />
        ))}
      </div>
      <p className={`${classes.note} num`} style={{ marginTop: 6 }} data-testid="states">
        {shown.map(([state, count]) => `${count} ${state}`).join(" · ")}
      </p>
    </div>
  );
}

function Actions({ report }: { report: Report }) {
  const { experiment, is_over: isOver } = report;
  const client = useQueryClient();
  const navigate = useNavigate();
  const [confirm, dialog] = useConfirm();
  const readOnly = useReadOnly();
  const cancel = useMutation({
    mutationFn: () => cancelExperiment(experiment.id),
    onSuccess: () => client.invalidateQueries({ queryKey: ["experiment", experiment.id] }),
    onError: failed,
  });
  const remove = useMutation({
    mutationFn: () => deleteExperiment(experiment.id),
    onSuccess: async () => {
      succeeded(`Deleted ${experiment.name}`);
      await navigate({ to: "/experiments" });
      client.removeQueries({ queryKey: ["experiment", experiment.id] });
      void client.invalidateQueries({ queryKey: ["experiments"] });
    },
    onError: failed,
  });
  const address = `${API}/experiments/${experiment.id}`;
  return (
    <>
      {!isOver && <NotifyButton path={`/experiments/${experiment.id}`} />}
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default" leftSection={<Icon name="download" />} data-testid="download">
            Report
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item component="a" href={`${address}/report.md`} download={`${experiment.id}.md`}>
            Markdown
          </Menu.Item>
          <Menu.Item component="a" href={address} download={`${experiment.id}.json`}>
            JSON
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {!readOnly && (
        <>
          <Button
            variant="default"
            leftSection={<Icon name="clone" />}
            renderRoot={(props) => <Link to="/sweep" search={{ from: experiment.id }} {...props} />}
            data-testid="again"
          >
            Again
          </Button>
          {isOver ? (
            <Button
              variant="default"
              leftSection={<Icon name="trash" />}
              loading={remove.isPending}
              data-testid="delete"
              onClick={() =>
                confirm({
                  title: "Delete this experiment?",
                  text: `“${experiment.name}” goes with its ${experiment.runs} runs, their metrics and checkpoints. This can’t be undone.`,
                  action: "Delete for good",
                  isDangerous: true,
                  onConfirm: () => remove.mutate(),
                })
              }
            >
              Delete
            </Button>
          ) : (
            <Button
              variant="default"
              leftSection={<Icon name="stop" />}
              loading={cancel.isPending}
              data-testid="cancel"
              onClick={() =>
                confirm({
                  title: "Cancel this experiment?",
                  text: "All its runs that haven’t ended stop. What they measured so far is kept.",
                  action: "Cancel its runs",
                  onConfirm: () => cancel.mutate(),
                })
              }
            >
              Cancel
            </Button>
          )}
        </>
      )}
      {dialog}
    </>
  );
}

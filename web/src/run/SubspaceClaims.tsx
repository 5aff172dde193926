import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useReadOnly } from "~/account/ReadOnly";
import { request } from "~/api/client";
import { isFinal, type Run } from "~/api/model";
import { analysesQuery, isLive } from "~/api/queries";
import { Verdicts, verdictsOf } from "~/run/ClaimsTab";
import { Panel } from "~/ui/Panel";
import { failed } from "~/ui/toast";

/** LASER's claims on this run, with the numbers of its newest analysis; or how to get one. */
export function SubspaceClaims({ run }: { run: Run }) {
  const client = useQueryClient();
  const readOnly = useReadOnly();
  const analyses = useQuery({ ...analysesQuery(run.id), refetchInterval: ({ state }) => (state.data?.items.some((a) => !isFinal(a.state)) ? 2000 : false) });
  const ask = useMutation({
    mutationFn: () => request<Run>("/runs", { method: "POST", body: { kind: "analysis", checkpoint: run.id } }),
    onSuccess: () => client.invalidateQueries({ queryKey: analysesQuery(run.id).queryKey }),
    onError: failed,
  });
  const items = analyses.data?.items ?? [];
  const answered = items.find((analysis) => verdictsOf(analysis).length);
  const going = items.find((analysis) => !isFinal(analysis.state));
  return (
    <Panel
      title="Claims"
      flush={answered !== undefined}
      testId="subspace-claims"
      aside={
        answered && (
          <Link to="/runs/$id" params={{ id: answered.id }} search={{ tab: "claims" }} className="faint">
            analysis #{answered.number}
          </Link>
        )
      }
    >
      {answered && <Verdicts verdicts={verdictsOf(answered)} />}
      {!answered && going && <p className="muted">Analysis #{going.number} is {going.state}; its answers appear here by themselves.</p>}
      {!answered && !going && analyses.data && (
        <p className="muted" style={{ margin: 0 }}>
          Are this model’s activations low-dimensional, effectively linear and easy to track? An analysis of its checkpoint answers with numbers.{" "}
          {!readOnly && !isLive(run) && run.checkpoint && (
            <Button size="compact-sm" variant="default" loading={ask.isPending} onClick={() => ask.mutate()} data-testid="analyse">
              Analyse it
            </Button>
          )}
        </p>
      )}
    </Panel>
  );
}

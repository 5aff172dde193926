import { Button } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { request } from "~/api/client";
import { meQuery } from "~/api/queries";
import { Icon } from "~/ui/icons";
import { PageHead } from "~/ui/PageHead";
import { Panel } from "~/ui/Panel";
import { failed } from "~/ui/toast";
import { NewToken } from "./NewToken";
import { useReadOnly } from "./ReadOnly";
import { TokenTable } from "./TokenTable";
import { Webhooks } from "./Webhooks";
import classes from "./Account.module.css";

export function AccountPage() {
  const { data: me } = useQuery(meQuery());
  const readOnly = useReadOnly();
  const leave = useMutation({
    mutationFn: () => request<undefined>("/session", { method: "DELETE" }),
    onSuccess: () => window.location.assign("/login"),
    onError: failed,
  });
  return (
    <>
      <PageHead title="Account" sub={me && `${me.name}, ${me.role}${me.scope === "all" ? "" : `, scope ${me.scope}`}`}>
        <Button variant="default" onClick={() => leave.mutate()} loading={leave.isPending} data-testid="log-out">
          Log out
        </Button>
      </PageHead>
      <div className={classes.page}>
        {readOnly && (
          <p className={classes.readOnly}>
            <Icon name="lock" size={14} /> {readOnly}
          </p>
        )}
        {me?.scope === "all" && (
          <Panel title="New token">
            <NewToken />
          </Panel>
        )}
        <Panel title="Tokens and browser sessions" flush>
          <TokenTable />
        </Panel>
        <Webhooks mayChange={me?.scope === "all" && me.role !== "viewer"} />
      </div>
    </>
  );
}

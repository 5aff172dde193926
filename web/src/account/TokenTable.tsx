import { Button, Skeleton } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { request } from "~/api/client";
import type { Token } from "~/api/model";
import { meQuery, tokensQuery } from "~/api/queries";
import { Ago } from "~/ui/Ago";
import { Failure } from "~/ui/Empty";
import { moment } from "~/ui/format";
import { failed, succeeded } from "~/ui/toast";
import { useConfirm } from "~/ui/useConfirm";
import classes from "./Account.module.css";

/** Tokens and browser sessions of oneself, or for admins of another user. */
export function TokenTable({ user }: { user?: string }) {
  const tokens = useQuery(tokensQuery(user));
  if (tokens.isPending) return <Skeleton height={120} />;
  if (tokens.isError) return <Failure error={tokens.error} retry={() => void tokens.refetch()} compact />;
  if (!tokens.data.items.length) return <p className={classes.none}>None.</p>;
  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label="Tokens">
      <table className={classes.table} data-testid="tokens">
        <thead>
          <tr>
            <th>Name</th>
            <th>Kind</th>
            <th className={classes.wide}>Scope</th>
            <th className={classes.wide}>Made</th>
            <th>Until</th>
            <th />
          </tr>
        </thead>
        <tbody>
          {tokens.data.items.map((token) => (
            <Row key={token.id} token={token} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ token }: { token: Token }) {
  const client = useQueryClient();
  const { data: me } = useQuery(meQuery());
  const [confirm, dialog] = useConfirm();
  const revoke = useMutation({
    mutationFn: () => request<undefined>(`/tokens/${token.id}`, { method: "DELETE" }),
    onSuccess: async () => {
      succeeded(`Revoked ${token.name || token.id}`);
      await client.invalidateQueries({ queryKey: ["tokens"] });
    },
    onError: failed,
  });
  const ask = () =>
    confirm({ title: `Revoke ${token.name || token.id}?`, text: "Whoever uses it is out at once.", action: "Revoke", isDangerous: true, onConfirm: () => revoke.mutate() });
  return (
    <tr>
      <td className={classes.name} title={token.id}>
        {token.name || token.id}
      </td>
      <td>{token.kind}</td>
      <td className={classes.wide}>{token.scope}</td>
      <td className={classes.wide}>
        <Ago time={token.created_at} />
      </td>
      <td>{token.expires_at === null ? "no end" : moment(token.expires_at)}</td>
      <td>
        {me?.scope === "all" && (
          <div className={classes.actions}>
            <Button size="compact-xs" variant="default" onClick={ask} loading={revoke.isPending} data-testid="revoke">
              Revoke
            </Button>
          </div>
        )}
        {dialog}
      </td>
    </tr>
  );
}

import { Button, NumberInput, Select, Skeleton } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import { request } from "~/api/client";
import type { LoginCode, User } from "~/api/model";
import { usersQuery } from "~/api/queries";
import classes from "~/account/Account.module.css";
import { Once } from "~/account/Once";
import { TokenTable } from "~/account/TokenTable";
import { Ago } from "~/ui/Ago";
import { Failure } from "~/ui/Empty";
import { Panel } from "~/ui/Panel";
import { failed } from "~/ui/toast";
import { roles } from "./NewUser";

type Change = Partial<{ role: string; disabled: boolean; shares: number }>;

export function Users() {
  const users = useQuery(usersQuery());
  const [shown, setShown] = useState<User>();
  const link = useMutation({
    mutationFn: (user: User) => request<LoginCode>("/login-codes", { method: "POST", body: { user: user.id } }),
    onError: failed,
  });
  if (users.isPending) return <Skeleton height={160} radius="lg" />;
  if (users.isError) return <Failure error={users.error} retry={() => void users.refetch()} />;
  return (
    <>
      <Panel title="Users" flush>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label="Users">
          <table className={classes.table} data-testid="users">
            <thead>
              <tr>
                <th>Name</th>
                <th>Role</th>
                <th>Shares of the pool</th>
                <th>Since</th>
                <th />
              </tr>
            </thead>
            <tbody>
              {users.data.items.map((user) => (
                <Row key={user.id} user={user} showTokens={() => setShown(user.id === shown?.id ? undefined : user)} makeLink={() => link.mutate(user)} />
              ))}
            </tbody>
          </table>
        </div>
      </Panel>
      {link.data && <Once what={`A login link for ${link.variables.name}, good once.`} text={link.data.url} />}
      {shown && (
        <Panel title={`Tokens and sessions of ${shown.name}`} flush>
          <TokenTable user={shown.id} />
        </Panel>
      )}
    </>
  );
}

function Row({ user, showTokens, makeLink }: { user: User; showTokens: () => void; makeLink: () => void }) {
  const client = useQueryClient();
  const isReadOnly = useReadOnly() !== undefined;
  const change = useMutation({
    mutationFn: (body: Change) => request<User>(`/users/${user.id}`, { method: "PATCH", body }),
    onError: failed,
    onSettled: () => Promise.all([client.invalidateQueries({ queryKey: ["users"] }), client.invalidateQueries({ queryKey: ["audit"] })]),
  });
  const isOff = user.disabled_at !== null;
  return (
    <tr data-off={isOff || undefined} data-testid="user-row">
      <td className={classes.name}>{user.name}</td>
      <td>
        <Select size="xs" w={110} aria-label={`Role of ${user.name}`} data={roles} value={user.role} allowDeselect={false} disabled={isReadOnly} onChange={(role) => role && role !== user.role && change.mutate({ role })} />
      </td>
      <td>
        <NumberInput
          key={user.shares}
          size="xs"
          w={90}
          min={0.01}
          aria-label={`Shares of ${user.name}`}
          defaultValue={user.shares}
          disabled={isReadOnly}
          onBlur={(event) => {
            const shares = Number(event.currentTarget.value);
            if (shares > 0 && shares !== user.shares) change.mutate({ shares });
          }}
        />
      </td>
      <td>
        <Ago time={user.created_at} />
      </td>
      <td>
        <div className={classes.actions}>
          <Button size="compact-xs" variant="default" onClick={showTokens}>
            Tokens
          </Button>
          {!isReadOnly && (
            <>
              <Button size="compact-xs" variant="default" onClick={makeLink} disabled={isOff}>
                Login link
              </Button>
              <Button size="compact-xs" variant="default" loading={change.isPending} onClick={() => change.mutate({ disabled: !isOff })} data-testid="user-disable">
                {isOff ? "Enable" : "Disable"}
              </Button>
            </>
          )}
        </div>
      </td>
    </tr>
  );
}

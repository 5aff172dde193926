import { useQuery } from "@tanstack/react-query";
import { useReadOnly } from "~/account/ReadOnly";
import { meQuery } from "~/api/queries";
import classes from "~/account/Account.module.css";
import { Empty } from "~/ui/Empty";
import { PageHead } from "~/ui/PageHead";
import { Panel } from "~/ui/Panel";
import { AuditLog } from "./AuditLog";
import { NewUser } from "./NewUser";
import { Users } from "./Users";

export function AdminPage() {
  const { data: me } = useQuery(meQuery());
  const readOnly = useReadOnly();
  return (
    <>
      <PageHead title="Admin" sub="Who may come in, what they may do, and who did what." />
      {me && me.role !== "admin" && (
        <Empty icon="lock" title="For admins">
          You are {me.name}, a {me.role}. An admin can change your role.
        </Empty>
      )}
      {me?.role === "admin" && (
        <div className={classes.page}>
          {!readOnly && (
            <Panel title="Add a user">
              <NewUser />
            </Panel>
          )}
          <Users />
          <AuditLog />
        </div>
      )}
    </>
  );
}

import { useQuery } from "@tanstack/react-query";
import { meQuery } from "~/api/queries";
import { Empty } from "~/ui/Empty";
import { PageHead } from "~/ui/PageHead";

/** Why whoever is logged in may change nothing; undefined where they may. The server refuses it in any case. */
export function useReadOnly(): string | undefined {
  const { data: me } = useQuery(meQuery());
  if (me && me.scope !== "all") return "You came in with a token that may only read. Log in with one of scope “all” to change anything.";
  if (me?.role === "viewer") return `You are ${me.name}, a viewer, who reads everything and changes nothing. An admin can change your role.`;
  return undefined;
}

/** In place of a page that is for making something. */
export function ReadOnlyPage({ title, why }: { title: string; why: string }) {
  return (
    <>
      <PageHead title={title} />
      <Empty icon="lock" title="You may read, not change" testId="read-only-page">
        {why}
      </Empty>
    </>
  );
}

import { Button, Menu, Modal, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState, type FormEvent } from "react";
import { useReadOnly } from "~/account/ReadOnly";
import { request } from "~/api/client";
import type { View } from "~/api/model";
import { viewsQuery } from "~/api/queries";
import type { RunsSearch } from "~/router";
import { quoted } from "~/runs/complete";
import { Icon } from "~/ui/icons";
import { failed, succeeded } from "~/ui/toast";

/** Filters with order and columns that the user keeps under a name. */
export function ViewsMenu({ search, columns }: { search: RunsSearch; columns: readonly string[] }) {
  const client = useQueryClient();
  const readOnly = useReadOnly();
  const navigate = useNavigate();
  const { data } = useQuery(viewsQuery());
  const [name, setName] = useState<string | null>(null);
  const reload = () => void client.invalidateQueries({ queryKey: ["views"] });
  const save = useMutation({
    mutationFn: (called: string) => {
      const body = { name: called, filter: wholeFilter(search), sort: search.sort ?? "", columns };
      return request<View>("/views", { method: "POST", body });
    },
    onSuccess: (view) => {
      succeeded(`Kept as “${view.name}”`);
      setName(null);
      reload();
    },
    onError: failed,
  });
  const remove = useMutation({
    mutationFn: (view: View) => request<undefined>(`/views/${view.id}`, { method: "DELETE" }),
    onSuccess: reload,
    onError: failed,
  });
  const open = (view: View) =>
    void navigate({
      to: "/",
      search: { filter: view.filter || undefined, sort: view.sort || undefined, col: view.columns.length ? view.columns : undefined },
    });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (name?.trim()) save.mutate(name.trim());
  };
  if (readOnly && !data?.items.length) return null;
  return (
    <>
      <Menu position="bottom-end" width={260}>
        <Menu.Target>
          <Button variant="default" leftSection={<Icon name="bookmark" />} data-testid="views">
            Views
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {data?.items.map((view) => (
            <div key={view.id} style={{ display: "flex", alignItems: "center" }}>
              <Menu.Item onClick={() => open(view)} title={view.filter} data-testid="view" style={{ flex: 1, minWidth: 0 }}>
                {view.name}
              </Menu.Item>
              {!readOnly && (
                <Menu.Item w="auto" aria-label={`Delete the view ${view.name}`} closeMenuOnClick={false} onClick={() => remove.mutate(view)}>
                  <Icon name="trash" size={14} />
                </Menu.Item>
              )}
            </div>
          ))}
          {!readOnly && (
            <>
              {data?.items.length ? <Menu.Divider /> : <Menu.Label>A view is a filter with its order and columns.</Menu.Label>}
              <Menu.Item leftSection={<Icon name="plus" size={14} />} onClick={() => setName("")} data-testid="save-view">
                Keep what is shown as a view
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      <Modal opened={name !== null} onClose={() => setName(null)} title="Keep this view">
        <form onSubmit={submit}>
          <TextInput
            label="Name"
            description="The same name again overwrites."
            maxLength={80}
            data-autofocus
            value={name ?? ""}
            onChange={(event) => setName(event.currentTarget.value)}
            data-testid="view-name"
          />
          <Button type="submit" mt="md" loading={save.isPending} disabled={!name?.trim()} data-testid="keep-view">
            Keep
          </Button>
        </form>
      </Modal>
    </>
  );
}

/** Chips and chosen tags in the filter language, so that a view is one text. */
function wholeFilter({ filter, state, store, kind, tag }: RunsSearch): string {
  const parts = [
    filter && (/\bOR\b/.test(filter) ? `(${filter})` : filter),
    state && `state:${state.join(",")}`,
    store && `store:${store}`,
    kind && `kind:${kind}`,
    ...(tag ?? []).map((each) => `tag:${quoted(each)}`),
  ];
  return parts.filter(Boolean).join(" ");
}

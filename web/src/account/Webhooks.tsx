import { Button, MultiSelect, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "~/api/client";
import type { CreatedWebhook, Delivery, Webhook } from "~/api/model";
import { deliveriesQuery, webhooksQuery } from "~/api/queries";
import { Ago } from "~/ui/Ago";
import { Panel } from "~/ui/Panel";
import { failed } from "~/ui/toast";
import { useConfirm } from "~/ui/useConfirm";
import { Once } from "./Once";
import classes from "./Account.module.css";

const events: Webhook["events"] = ["run.succeeded", "run.failed", "run.cancelled", "run.lost", "experiment.decided"];

/** Who else is told when one's runs and experiments end. */
export function Webhooks({ mayChange }: { mayChange: boolean }) {
  const webhooks = useQuery(webhooksQuery());
  const items = webhooks.data?.items ?? [];
  if (!mayChange && !items.length) return null;
  return (
    <>
      {mayChange && (
        <Panel title="New webhook">
          <NewWebhook />
        </Panel>
      )}
      {items.map((webhook) => (
        <Hook key={webhook.id} webhook={webhook} mayChange={mayChange} />
      ))}
    </>
  );
}

function NewWebhook() {
  const client = useQueryClient();
  const [url, setUrl] = useState("");
  const [chosen, setChosen] = useState<string[]>([...events]);
  const [filter, setFilter] = useState("");
  const add = useMutation({
    mutationFn: () => request<CreatedWebhook>("/webhooks", { method: "POST", body: { url: url.trim(), events: chosen, filter } }),
    onSuccess: async () => {
      setUrl("");
      await client.invalidateQueries({ queryKey: ["webhooks"] });
    },
    onError: failed,
  });
  return (
    <>
      <form
        className={classes.form}
        onSubmit={(event) => {
          event.preventDefault();
          add.mutate();
        }}
      >
        <TextInput label="Address" type="url" placeholder="https://" required maxLength={2000} value={url} onChange={(e) => setUrl(e.currentTarget.value)} data-testid="webhook-url" />
        <MultiSelect label="Tell of" data={events} value={chosen} onChange={setChosen} />
        <TextInput label="Only runs that fit" placeholder="tag:nightly" maxLength={2000} value={filter} onChange={(e) => setFilter(e.currentTarget.value)} />
        <Button type="submit" loading={add.isPending} disabled={!url.trim() || !chosen.length} data-testid="webhook-add">
          Add a webhook
        </Button>
      </form>
      {add.data && <Once what={`The secret of ${add.data.webhook.id}, which signs what it sends.`} text={add.data.secret} />}
    </>
  );
}

function Hook({ webhook, mayChange }: { webhook: Webhook; mayChange: boolean }) {
  const client = useQueryClient();
  const deliveries = useQuery(deliveriesQuery(webhook.id));
  const [confirm, dialog] = useConfirm();
  const change = useMutation({
    mutationFn: (how: "test" | "enable" | "remove") =>
      how === "remove" ? request<undefined>(`/webhooks/${webhook.id}`, { method: "DELETE" }) : request<unknown>(`/webhooks/${webhook.id}/${how}`, { method: "POST" }),
    onSuccess: async (_, how) => {
      await client.invalidateQueries({ queryKey: ["webhooks"] });
      if (how !== "remove") await client.invalidateQueries({ queryKey: ["deliveries", webhook.id] });
    },
    onError: failed,
  });
  const remove = () =>
    confirm({ title: "Remove this webhook?", text: "What waits to be sent to it is dropped.", action: "Remove", isDangerous: true, onConfirm: () => change.mutate("remove") });
  return (
    <Panel title={<b className={classes.address}>{webhook.url}</b>} flush testId="webhook">
      <div className={classes.hook}>
        <span>
          <span className="mono faint">{webhook.id}</span> {webhook.events.length === events.length ? "all events" : webhook.events.join(", ")}
          {webhook.filter && <code> {webhook.filter}</code>}
          {webhook.disabled_at !== null && <b className={classes.refused}> Disabled: {webhook.disabled_why}</b>}
        </span>
        {mayChange && (
          <span className={classes.actions}>
            {webhook.disabled_at === null ? (
              <Button size="compact-xs" variant="default" onClick={() => change.mutate("test")} data-testid="webhook-test">
                Send a test
              </Button>
            ) : (
              <Button size="compact-xs" variant="default" onClick={() => change.mutate("enable")} data-testid="webhook-enable">
                Enable
              </Button>
            )}
            <Button size="compact-xs" variant="default" onClick={remove} data-testid="webhook-remove">
              Remove
            </Button>
          </span>
        )}
        {dialog}
      </div>
      <Deliveries items={deliveries.data?.items.slice(0, 5) ?? []} />
    </Panel>
  );
}

function Deliveries({ items }: { items: Delivery[] }) {
  if (!items.length) return <p className={classes.none}>Nothing was sent yet.</p>;
  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label="Deliveries">
      <table className={classes.table} data-testid="deliveries">
        <thead>
          <tr>
            <th>Event</th>
            <th>Made</th>
            <th>Tries</th>
            <th>Answer</th>
          </tr>
        </thead>
        <tbody>
          {items.map((one) => (
            <tr key={one.id} title={one.id}>
              <td>{one.event}</td>
              <td>
                <Ago time={one.created_at} />
              </td>
              <td className="num">{one.attempts}</td>
              <td className={`${classes.detail} ${one.delivered_at === null && one.answer ? classes.refused : ""}`}>
                {one.answer || "waits for a worker"}
                {one.answer && one.next_at !== null && "; it will be tried again"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

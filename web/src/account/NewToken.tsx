import { Button, Select, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "~/api/client";
import type { CreatedToken } from "~/api/model";
import { failed } from "~/ui/toast";
import { Once } from "./Once";
import classes from "./Account.module.css";

const scopes = [
  { value: "read", label: "read: changes nothing" },
  { value: "all", label: "all: may do what you may" },
  { value: "metrics", label: "metrics: /metrics alone" },
];
const lives = [7, 30, 90, 366].map((days) => ({ value: String(days), label: `${days} days` }));

export function NewToken() {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [scope, setScope] = useState("read");
  const [days, setDays] = useState("90");
  const make = useMutation({
    mutationFn: () => request<CreatedToken>("/tokens", { method: "POST", body: { name: name.trim(), scope, ttl_days: Number(days) } }),
    onSuccess: async () => {
      setName("");
      await client.invalidateQueries({ queryKey: ["tokens"] });
    },
    onError: failed,
  });
  return (
    <>
      <form
        className={classes.form}
        onSubmit={(event) => {
          event.preventDefault();
          make.mutate();
        }}
      >
        <TextInput label="Name" placeholder="nightly" required maxLength={120} value={name} onChange={(e) => setName(e.currentTarget.value)} data-testid="token-name" />
        <Select label="Scope" data={scopes} value={scope} allowDeselect={false} onChange={(value) => setScope(value ?? "read")} />
        <Select label="Good for" data={lives} value={days} allowDeselect={false} onChange={(value) => setDays(value ?? "90")} />
        <Button type="submit" loading={make.isPending} disabled={!name.trim()} data-testid="token-make">
          Make a token
        </Button>
      </form>
      {make.data && <Once what={`The token ${make.data.token.name}.`} text={make.data.secret} />}
    </>
  );
}

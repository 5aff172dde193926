import { Button, Select, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { request } from "~/api/client";
import type { LoginCode, User } from "~/api/model";
import classes from "~/account/Account.module.css";
import { Once } from "~/account/Once";
import { failed } from "~/ui/toast";

export const roles = ["member", "viewer", "admin"];

export function NewUser() {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [role, setRole] = useState("member");
  const add = useMutation({
    mutationFn: async () => {
      const user = await request<User>("/users", { method: "POST", body: { name: name.trim(), role } });
      return { user, link: await request<LoginCode>("/login-codes", { method: "POST", body: { user: user.id } }) };
    },
    onSuccess: () => setName(""),
    onError: failed,
    onSettled: () => Promise.all([client.invalidateQueries({ queryKey: ["users"] }), client.invalidateQueries({ queryKey: ["audit"] })]),
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
        <TextInput label="Name" placeholder="ann@lab.example" required maxLength={120} value={name} onChange={(e) => setName(e.currentTarget.value)} data-testid="user-name" />
        <Select label="Role" data={roles} value={role} allowDeselect={false} onChange={(value) => setRole(value ?? "member")} />
        <Button type="submit" loading={add.isPending} disabled={!name.trim()} data-testid="user-add">
          Add
        </Button>
      </form>
      {add.data && <Once what={`Send ${add.data.user.name} this login link, good once, for a day.`} text={add.data.link.url} />}
    </>
  );
}

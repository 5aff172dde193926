import { notifications } from "@mantine/notifications";
import { messageOf } from "~/api/client";

export function succeeded(message: string): void {
  notifications.show({ message, color: "teal", autoClose: 3500 });
}

export function failed(error: unknown): void {
  notifications.show({ title: "That did not work", message: messageOf(error), color: "red", autoClose: 9000 });
}

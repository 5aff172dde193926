import { Button, Group, Modal, Text } from "@mantine/core";
import { useState, type ReactNode } from "react";

interface Question {
  title: string;
  text: string;
  action: string;
  isDangerous?: boolean;
  onConfirm: () => void;
}

/** Asks before something that can't be undone: [ask, the dialog to render]. */
export function useConfirm(): [(question: Question) => void, ReactNode] {
  const [question, setQuestion] = useState<Question | null>(null);
  const close = () => setQuestion(null);
  const dialog = (
    <Modal opened={question !== null} onClose={close} title={question?.title} data-testid="confirm">
      <Text size="sm" c="dimmed">
        {question?.text}
      </Text>
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={close}>
          Keep
        </Button>
        <Button
          color={question?.isDangerous ? "red.9" : undefined}
          data-testid="confirm-yes"
          data-autofocus
          onClick={() => {
            question?.onConfirm();
            close();
          }}
        >
          {question?.action}
        </Button>
      </Group>
    </Modal>
  );
  return [setQuestion, dialog];
}

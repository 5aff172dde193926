import { createTheme, type MantineColorsTuple } from "@mantine/core";

const iris: MantineColorsTuple = [
  "#f2f1fe", "#e4e2fb", "#cac6f6", "#aca6ef", "#8f87e6", "#746bdc", "#5f57d0", "#5149b8", "#443d9b", "#332e76",
];
const slate: MantineColorsTuple = [
  "#f8f9fa", "#f1f2f4", "#e6e8eb", "#d7dbdf", "#c1c8cd", "#98a1a8", "#687076", "#4c545a", "#33393e", "#1d2124",
];
const night: MantineColorsTuple = [
  "#e6e7ea", "#b4b8bf", "#8f949c", "#686d76", "#3a3e46", "#2b2f36", "#202329", "#17191d", "#111317", "#0b0c0f",
];

export const theme = createTheme({
  primaryColor: "iris",
  primaryShade: 6,
  colors: { iris, gray: slate, dark: night },
  fontFamily: "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  fontSizes: { xs: "0.75rem", sm: "0.8125rem", md: "0.875rem", lg: "1rem", xl: "1.125rem" },
  headings: { fontWeight: "600" },
  defaultRadius: "md",
  cursorType: "pointer",
  focusRing: "auto",
  respectReducedMotion: true,
  components: {
    Button: { defaultProps: { size: "sm" } },
    TextInput: { defaultProps: { size: "sm" } },
    Select: { defaultProps: { size: "sm" } },
    Tooltip: { defaultProps: { withArrow: true, openDelay: 250, multiline: true, maw: 320 } },
    // Mantine's own placeholder in a menu is no item of it, and its close buttons have no name.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false } },
    Modal: { defaultProps: { centered: true, radius: "lg", closeButtonProps: { "aria-label": "Close" } } },
    Notification: { defaultProps: { closeButtonProps: { "aria-label": "Close" } } },
  },
});

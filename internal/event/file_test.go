package event_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	must(t, os.WriteFile(path, []byte(`{"cut":`), 0o600)) // as a loss of power leaves it
	f := target(t, "f=file:"+path)
	send := func() {
		t.Helper()
		if sent, err := f.Sender.Send(t.Context(), oneEvent); sent != 1 || err != nil {
			t.Fatalf("Send = %d, %v", sent, err)
		}
	}
	send()
	send()
	must(t, f.Sender.Flush())
	must(t, os.Rename(path, path+".1"))
	send()
	must(t, f.Sender.Flush(), f.Sender.Flush())

	line, err := json.Marshal(oneEvent[0])
	must(t, err)
	for name, want := range map[string][]string{path + ".1": {`{"cut":`, string(line), string(line), ""}, path: {string(line), ""}} {
		got, err := os.ReadFile(name)
		if err != nil || string(got) != strings.Join(want, "\n") {
			t.Errorf("%s has %q, %v", name, got, err)
		}
	}

	must(t, os.Remove(path), os.Mkdir(path, 0o700))
	if sent, err := f.Sender.Send(t.Context(), oneEvent); sent != 0 || err == nil {
		t.Errorf("Send to what is a folder now = %d, %v", sent, err)
	}
}

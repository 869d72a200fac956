package snapshot

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

type columnsInner struct {
	Name string `json:"name"`
	Key  []byte `json:"key" secret:"true"`
}

type columnsRow struct {
	ID     string            `json:"id"`
	On     *bool             `json:"on,omitempty"`
	N      int               `json:"n"`
	U      uint64            `json:"u,omitempty"`
	At     time.Time         `json:"at"`
	Raw    json.RawMessage   `json:"raw,omitempty"`
	Inner  columnsInner      `json:"inner"`
	Maybe  *columnsInner     `json:"maybe,omitempty" secret:"true"`
	Inners []columnsInner    `json:"inners,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	columnsEmbedded
}

type columnsEmbedded struct {
	Words [][]string `json:"words"`
}

func TestColumns(t *testing.T) {
	const text, moment = "BYTE_ARRAY STRING", "INT64 TIMESTAMP(isAdjustedToUTC=true, unit=MICROS)"
	want := []Column{
		{"id", text, false, false},
		{"on", "BOOLEAN", true, false},
		{"n", "INT64 INT(64,true)", false, false},
		{"u", "INT64 INT(64,false)", true, false},
		{"at", moment, true, false},
		{"raw", "BYTE_ARRAY JSON", true, false},
		{"inner", "group", false, false},
		{"inner.name", text, false, false},
		{"inner.key", "BYTE_ARRAY", true, true},
		{"maybe", "group", true, true},
		{"maybe.name", text, false, false},
		{"maybe.key", "BYTE_ARRAY", true, true},
		{"inners", "LIST", true, false},
		{"inners[]", "group", false, false},
		{"inners[].name", text, false, false},
		{"inners[].key", "BYTE_ARRAY", true, true},
		{"labels", "MAP", true, false},
		{"labels{key}", text, false, false},
		{"labels{value}", text, false, false},
		{"words", "LIST", true, false},
		{"words[]", "LIST", true, false},
		{"words[][]", text, false, false},
	}
	got := MustCodec[columnsRow]().Columns()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
}

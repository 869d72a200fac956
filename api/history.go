package api

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Position is a place in the history of changes: behind the N-th change, counted
// from 1, of the log entry at Index. As text it is INDEX.N; INDEX alone is
// behind all changes of the entry.
type Position struct {
	Index uint64
	N     uint64
}

// After is behind everything that the entry at index changed.
func After(index uint64) Position { return Position{index, math.MaxUint64} }

// Before tells whether p comes before o.
func (p Position) Before(o Position) bool {
	return p.Index < o.Index || p.Index == o.Index && p.N < o.N
}

// String is INDEX.N, or INDEX where everything of the entry is meant.
func (p Position) String() string {
	if p.N == math.MaxUint64 {
		return strconv.FormatUint(p.Index, 10)
	}
	return strconv.FormatUint(p.Index, 10) + "." + strconv.FormatUint(p.N, 10)
}

// ParsePosition reads INDEX or INDEX.N, both decimal without a sign.
func ParsePosition(text string) (Position, error) {
	index, n, exact := strings.Cut(text, ".")
	at, err := strconv.ParseUint(index, 10, 64)
	if err != nil {
		return Position{}, errors.New("a position is INDEX or INDEX.N, as in 4711 or 4711.3")
	}
	if !exact {
		return After(at), nil
	}
	nth, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return Position{}, errors.New("a position is INDEX or INDEX.N, as in 4711 or 4711.3")
	}
	return Position{at, nth}, nil
}

// ChangeVerb says what became of a row.
type ChangeVerb string

// What can become of a row.
const (
	Created ChangeVerb = "create"
	Updated ChangeVerb = "update"
	Deleted ChangeVerb = "delete"
)

// Event is one change of one row, as people and programs see it: secrets are left out of Value.
type Event struct {
	Index     uint64          `json:"index" doc:"The log entry that did it"`
	N         uint64          `json:"n" doc:"Which change of that entry, from 1"`
	Time      time.Time       `json:"time" doc:"The cluster's time at that entry"`
	Actor     string          `json:"actor" doc:"Who asked for it"`
	RequestID string          `json:"request_id,omitempty" doc:"The request that asked for it"`
	Table     string          `json:"table"`
	Key       string          `json:"key" doc:"The row's key in its table"`
	Account   string          `json:"account,omitempty" doc:"The account that the row belongs to"`
	Verb      ChangeVerb      `json:"verb" enum:"create,update,delete"`
	Value     json.RawMessage `json:"value,omitempty" doc:"The row after the change; none after a delete"`
}

// Position is the place right behind the event.
func (e Event) Position() Position { return Position{e.Index, e.N} }

// EventFilter narrows events down; what is empty does not.
type EventFilter struct {
	Tables  []string // any of these
	Keys    []string // any of these
	Account string
}

// ChangeRange is a stretch of the history that the asked peer keeps as one file.
type ChangeRange struct {
	From  uint64    `json:"from" doc:"First log index that it covers"`
	To    uint64    `json:"to" doc:"Last log index that it covers"`
	Since time.Time `json:"since" doc:"The time of the first change in it; zero when there is none"`
	Until time.Time `json:"until" doc:"The time of the last change in it; zero when there is none"`
	Rows  int64     `json:"rows"`
	Bytes int64     `json:"bytes"`
	File  string    `json:"file" doc:"Its name below /v1/changes/"`
}

// SnapshotCheck is what reading a snapshot whole has shown.
type SnapshotCheck struct {
	ID        string           `json:"id"`
	Index     uint64           `json:"index"`
	OK        bool             `json:"ok"`
	StateHash string           `json:"state_hash" doc:"Of the rows that were read; it must be the one that the manifest names"`
	Rows      map[string]int64 `json:"rows" doc:"Rows read, by table"`
	Problems  []string         `json:"problems" doc:"What is wrong; empty when nothing is"`
}

// RestoreCreate asks for a rollback.
type RestoreCreate struct {
	DryRun bool   `json:"dry_run,omitempty" doc:"Only tell what would change"`
	Digest string `json:"digest,omitempty" maxLength:"64" doc:"That of an answer to a dry run: a rollback that would by now change any other row, or from another content, is refused"`
}

// TableDifference counts the rows of a table that a rollback touches.
type TableDifference struct {
	Table  string `json:"table"`
	Create int64  `json:"create" doc:"Rows that are gone now and come back"`
	Update int64  `json:"update" doc:"Rows that get their old content again"`
	Delete int64  `json:"delete" doc:"Rows that were not there then"`
}

// MissingVM is a VM that was there then and is gone now. A rollback does not make guests.
type MissingVM struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Command string `json:"command" doc:"The command that makes it again, empty"`
}

// Restore is what a rollback changes, or would.
type Restore struct {
	ID         string            `json:"id" doc:"The snapshot"`
	Index      uint64            `json:"index" doc:"The log index of the snapshot"`
	DryRun     bool              `json:"dry_run"`
	Applied    uint64            `json:"applied_index,omitempty" doc:"The log index at which it took effect"`
	Tables     []TableDifference `json:"tables" doc:"Only those with a difference"`
	Digest     string            `json:"digest,omitempty" doc:"Of the rows that it changes and what they are before: SHA-256, hexadecimal"`
	MissingVMs []MissingVM       `json:"missing_vms"`
	// Replayed: an earlier request with the same key did it, and what it changed is not
	// told again.
	Replayed bool `json:"-"`
}

// Settings are what must be alike on all peers. They are seeded when the
// cluster is made, from the configuration of its first peer.
type Settings struct {
	Voters   int              `json:"voters" enum:"1,3,5" doc:"How many peers should vote"`
	Snapshot SnapshotSettings `json:"snapshot"`
	History  HistorySettings  `json:"history"`
	Trust    TrustSettings    `json:"trust"`
	Auth     AuthSettings     `json:"auth"`
}

// TrustSettings say who must be vouched for, by a signature with a key that weighs as
// much in the package trust-graph. 0: nobody.
type TrustSettings struct {
	JoinWeight  int `json:"join_weight" minimum:"0" maximum:"100000" doc:"What the key must weigh that signs a newcomer's request to join; 0: none is asked for"`
	ImageWeight int `json:"image_weight" minimum:"0" maximum:"100000" doc:"What the key must weigh that signs the sum of an image; 0: none is asked for"`
}

// SnapshotSettings say when marked snapshots are taken and which stay.
type SnapshotSettings struct {
	Interval string `json:"interval" doc:"Between two marked snapshots, as in 1h; 0s: only on demand"`
	Retain   int    `json:"retain" minimum:"1" maximum:"100000" doc:"How many of the newest stay"`
	Daily    int    `json:"daily" minimum:"0" maximum:"100000" doc:"For how many days the first of each day stays"`
	Monthly  int    `json:"monthly" minimum:"0" maximum:"100000" doc:"For how many months the first of each month stays"`
}

// HistorySettings say how long changes are kept.
type HistorySettings struct {
	RetainFor string `json:"retain_for" doc:"How long changes are kept, as in 9600h"`
}

// AuthSettings say who may speak on the routes of the inventory.
type AuthSettings struct {
	JWTSecret     *string `json:"jwt_secret,omitempty" writeOnly:"true" doc:"HS256 secrets, one a line; empty takes them away"`
	JWTSecretSet  bool    `json:"jwt_secret_set" readOnly:"true" doc:"Whether there is one"`
	JWKS          string  `json:"jwks" doc:"Public keys as a JWK set, or the URL of one"`
	Issuer        string  `json:"issuer"`
	Audience      string  `json:"audience"`
	AnonymousRead bool    `json:"anonymous_read"`
	SMDAnonymous  bool    `json:"smd_anonymous"`
	JWTRole       Role    `json:"jwt_role"`
}

package api

import "time"

// Token is a credential as listings show it: never its secret.
type Token struct {
	ID        string    `json:"id"`
	Role      Role      `json:"role" enum:"viewer,controller,operator,admin,peer"`
	Account   string    `json:"account,omitempty" doc:"It reaches this account only"`
	Uses      int64     `json:"uses,omitempty" doc:"peer: how many hosts may join with it"`
	UsedBy    []string  `json:"used_by,omitempty" doc:"peer: ids of the peers that joined with it"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Version   uint64    `json:"version"`
}

// TokenCreate is the body of POST /v1/tokens.
type TokenCreate struct {
	Role    Role   `json:"role" enum:"viewer,controller,operator,admin,peer"`
	Account string `json:"account,omitempty" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	TTL     string `json:"ttl,omitempty" doc:"How long it is good for, as 90s, 1h or 720h; default 1h, at most 8760h" example:"1h"`
	Uses    int64  `json:"uses,omitempty" doc:"peer: how many hosts may join with it; default 1" minimum:"1" maximum:"100"`
}

// NewToken is the one answer that holds a token's secret.
type NewToken struct {
	ID        string    `json:"id"`
	Token     string    `json:"token" doc:"The credential; it is not shown again"`
	Role      Role      `json:"role"`
	Account   string    `json:"account,omitempty"`
	Join      string    `json:"join,omitempty" doc:"peer: the command to paste on the new host"`
	ExpiresAt time.Time `json:"expires_at"`
}

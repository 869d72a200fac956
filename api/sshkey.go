package api

import "time"

// SSHKey is a public key of an account, in OpenSSH's form.
type SSHKey struct {
	ID          string    `json:"id" format:"uuid"`
	Name        string    `json:"name" doc:"Unique in the account"`
	Account     string    `json:"account"`
	Type        string    `json:"type" doc:"As ssh-ed25519"`
	PublicKey   string    `json:"public_key" doc:"TYPE BASE64, without options or comment"`
	Fingerprint string    `json:"fingerprint" doc:"SHA256:..., as ssh-keygen -l shows it"`
	Comment     string    `json:"comment,omitempty"`
	Version     uint64    `json:"version"`
	CreatedAt   time.Time `json:"created_at"`
}

// SSHKeyCreate is the body of POST /v1/ssh-keys.
type SSHKeyCreate struct {
	Name      string `json:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" example:"anna-laptop"`
	Account   string `json:"account,omitempty" doc:"Default: the token's, else \"default\"" pattern:"^[a-z0-9][a-z0-9-]{0,62}$"`
	PublicKey string `json:"public_key" doc:"One line of an authorized_keys file, without options" maxLength:"16384" example:"ssh-ed25519 AAAA... anna@laptop"`
}

package cloudbase

import (
	"errors"
	"strconv"
	"time"

	"github.com/lettergate/lettergate/provider/internal/account"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/users"
)

// What a person may say about themselves, in bytes.
const (
	maxName    = 256
	maxText    = 1024
	maxPicture = 2048
)

type signUpRequest struct {
	Email    text `json:"email"`
	Phone    text `json:"phone_number"`
	Token    text `json:"verification_token"` // the proof; a verification_code beside it says no more
	Username text `json:"username"`
	Password text `json:"password"`
	Name     text `json:"name"`
	Locale   text `json:"locale"`
	Gender   text `json:"gender"`
	Picture  text `json:"picture"`
}

// A registration is a sign-up that has been checked as far as it can be without
// doing it.
type registration struct {
	box     verification.Mailbox
	user    users.User
	hash    string // of the password, "" for none
	profile account.Profile
}

// signUp is POST signup. Everything that can be refused is refused before the
// account is made, and the token is spent after it: a sign-up that was interrupted
// can be sent again, and leaves no account or a usable one.
func (a *API) signUp(c *call, req signUpRequest) (tokens, error) {
	box, err := a.mailbox(c, req.Token)
	if err != nil {
		return tokens{}, err
	}
	if err := proves(box, req.Email, req.Phone); err != nil {
		return tokens{}, err
	}
	existing, err := a.Users.ByEmail(c.Context(), box.Identity)
	switch {
	case errors.Is(err, users.ErrNotFound):
		if box.Spent {
			return tokens{}, errToken() // the account that this proof made is gone
		}
		if !c.client.SignUp {
			return tokens{}, errDenied("api.sign_up")
		}
	case err != nil:
		return tokens{}, err
	case existing.Subject == box.Subject:
		// Begun before with the same proof.
	case c.hidden && existing.EmailVerified:
		return a.signInProven(c, existing, box)
	case existing.EmailVerified:
		return tokens{}, precondition("api.email_taken")
	case existing.Disabled:
		return tokens{}, errBlocked()
	}
	reg, err := a.checkRegistration(c, req, box)
	if err != nil {
		return tokens{}, err
	}
	return a.register(c, reg, existing)
}

// checkRegistration refuses what the account could not be made with.
func (a *API) checkRegistration(c *call, req signUpRequest, box verification.Mailbox) (registration, error) {
	reg := registration{
		box: box,
		user: users.User{
			Subject: box.Subject, Email: box.Email, EmailKey: box.Identity, EmailVerified: true,
			Username: req.Username.value, Name: req.Name.value, Locale: req.Locale.value,
		},
	}
	edit := profileEdit{Gender: &req.Gender, Picture: &req.Picture}
	if err := edit.check(); err != nil {
		return reg, err
	}
	edit.apply(&reg.profile)
	if err := checkShown("name", req.Name.value, maxName); err != nil {
		return reg, err
	}
	if err := checkShown("locale", req.Locale.value, 64); err != nil {
		return reg, err
	}
	free, err := a.usernameFree(c, req.Username.value, box.Subject)
	if err != nil {
		return reg, err
	}
	if !free {
		if !c.hidden {
			return reg, precondition("api.username_taken")
		}
		reg.user.Username = "" // a sign-up does not tell who has it
	}
	if req.Password.value != "" {
		reg.hash, err = a.hash(c, req.Password.value)
	}
	return reg, err
}

// usernameFree reports whether the subject may have the username, "" included.
func (a *API) usernameFree(c *call, username, subject string) (bool, error) {
	if username == "" {
		return true, nil
	}
	if _, ok := users.UsernameKey(username); !ok {
		return false, invalid("api.username_rule")
	}
	other, err := a.Users.ByUsername(c.Context(), username)
	switch {
	case errors.Is(err, users.ErrNotFound):
		return true, nil
	case err != nil:
		return false, err
	}
	return other.Subject == subject, nil
}

// hash is the hash of a new password that keeps to the rule.
func (a *API) hash(c *call, value string) (string, error) {
	hash, err := a.Passwords.Hash(c.Context(), value)
	if errors.Is(err, password.ErrRule) {
		rule := a.Passwords.Rule()
		f := invalid("api.password_rule")
		if !rule.LettersAndDigits {
			f.text = "api.password_rule_any"
		}
		f.args = map[string]string{"min": strconv.Itoa(rule.Min), "max": strconv.Itoa(rule.Max)}
		return "", f.because(err)
	}
	return hash, err
}

// register makes the account, or takes over the one that somebody has registered
// without proving the address, and signs in.
func (a *API) register(c *call, reg registration, existing users.User) (tokens, error) {
	u, err := a.makeAccount(c, reg, existing)
	switch {
	case errors.Is(err, users.ErrEmailTaken) && c.hidden:
		// Another proof of the same mailbox was faster.
		if u, err = a.Users.ByEmail(c.Context(), reg.box.Identity); err != nil {
			return tokens{}, err
		}
		return a.signInProven(c, u, reg.box)
	case errors.Is(err, users.ErrEmailTaken):
		return tokens{}, clash(err)
	case errors.Is(err, users.ErrUsernameTaken) && c.hidden:
		reg.user.Username = ""
		if u, err = a.makeAccount(c, reg, existing); err != nil {
			return tokens{}, err
		}
	case err != nil:
		return tokens{}, clash(err)
	}
	if reg.profile != (account.Profile{}) && !reg.box.Spent {
		if err := a.Changes.EditProfile(c.Context(), u.Subject, func(p *account.Profile) { *p = reg.profile }); err != nil {
			return tokens{}, err
		}
	}
	if err := a.spend(c, reg.box); err != nil {
		return tokens{}, err
	}
	if err := a.firstPassword(c, u, reg); err != nil {
		return tokens{}, err
	}
	return a.issue(c, u, reg.box)
}

// firstPassword sets the password of a registration. A request that is sent again
// completes what is missing and does not undo what came after it.
func (a *API) firstPassword(c *call, u users.User, reg registration) error {
	if reg.hash == "" {
		return nil
	}
	if !reg.box.Spent {
		return a.Passwords.Set(c.Context(), u.Subject, reg.hash, time.Time{})
	}
	err := a.Passwords.Replace(c.Context(), u.Subject, reg.hash, password.State{}, "")
	if errors.Is(err, password.ErrChanged) {
		return nil
	}
	return err
}

// makeAccount makes the account. It can be repeated with the same proof.
func (a *API) makeAccount(c *call, reg registration, existing users.User) (users.User, error) {
	switch {
	case reg.box.Spent:
		return existing, nil
	case existing.Subject == "", existing.Subject == reg.box.Subject:
		return a.Users.Create(c.Context(), reg.user)
	}
	u, err := a.Changes.Prove(c.Context(), existing)
	if err != nil {
		return users.User{}, err
	}
	u.Email, u.Username, u.Name, u.Locale = reg.user.Email, reg.user.Username, reg.user.Name, reg.user.Locale
	return a.Users.Update(c.Context(), u)
}

type existsResponse struct {
	Exist bool `json:"exist"`
}

// exists is GET checkIfUserExist.
func (a *API) exists(c *call, _ void) (existsResponse, error) {
	name := c.URL.Query().Get("username")
	if name == "" {
		return existsResponse{}, errMissing("username")
	}
	u, _, err := a.Changes.Named(c.Context(), name)
	return existsResponse{u.Subject != "" && !c.hidden}, err
}

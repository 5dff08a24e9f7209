# SPDX-License-Identifier: MIT OR Apache-2.0
package Gemel::PVE::Client;

# The REST API of gemeld, over TLS with the certificate authority the token vouches for: the third part of a token is the
# SHA-256 of that authority's certificate, so nothing has to be trusted on first use and no file has to be copied.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use HTTP::Request;
use JSON;
use LWP::UserAgent;
use MIME::Base64 qw(decode_base64 decode_base64url);
use Time::Local qw(timegm);

# The name the certificate for programs is made for (RFC 6761 section 6.4: nobody can own it).
# Where a node says what it is certified by, and the name under which it shows that: its own authority, and its cluster's.
use constant AUTHORITIES => ([ '/ca.pem', 'api.gemel.invalid' ], [ '/cluster-ca.pem', 'cluster.gemel.invalid' ]);
use constant PREFIX => '/api/v1';
# Seconds for one request; PVE itself gives up on a storage after some more.
use constant PATIENCE => 15;
# Bytes of a certificate, and of an answer.
use constant MAX_CA => 65_536;
use constant MAX_ANSWER => 67_108_864;
# Items asked for at a time, and pages at most.
use constant PAGE => 1000;
use constant MAX_PAGES => 100;

# new($servers, $token, $folder): $servers is a reference to a list of HOST:PORT, asked in this order; $folder is where the
# certificate of the authority is kept for the TLS library (it is no secret). Dies when the token cannot be one.
sub new {
    my ($class, $servers, $token, $folder) = @_;

    die "no API address of a Gemel node is configured\n" if !@$servers;
    die "the API token is missing or not complete\n"
        if !defined($token) || $token !~ m/^gemel\.[\w-]+\.([\w-]+)$/;
    my $expected = decode_base64url($1);

    return bless {
        servers => [@$servers],
        token => $token,
        expected => $expected,
        folder => $folder,
    }, $class;
}

# call($method, $path, $body, $key): what the daemon answered, decoded; undef for an empty answer. $path is below /api/v1.
# With $key (an idempotency key) a request whose answer was lost is safe to repeat at another node. Dies with an error
# object: {code, message} as the daemon said, or code 'unreachable'.
sub call {
    my ($self, $method, $path, $body, $key) = @_;

    my $why;
    for my $server (@{ $self->{servers} }) {
        my $answer = eval { $self->_ask($server, $method, $path, $body, $key) };
        my $error = $@;
        if (!$error) {
            # The node that answers is asked first from now on.
            @{ $self->{servers} } = ($server, grep { $_ ne $server } @{ $self->{servers} });
            return $answer;
        }
        die $error if !ref($error) || !$error->{elsewhere};
        $why = $error;
        # Without a key, a change whose outcome is unknown must not be asked for twice.
        last if $why->{sent} && $method eq 'POST' && !defined($key);
    }
    die $why;
}

# All items of a list, over its pages.
sub list {
    my ($self, $path) = @_;

    my @items;
    my $next = $path . ($path =~ m/\?/ ? '&' : '?') . 'limit=' . PAGE;
    for (my $page = 0; defined($next); $page++) {
        die "the list $path does not end\n" if $page >= MAX_PAGES;
        my $answer = $self->call('GET', $next);
        push @items, @{ $answer->{items} };
        $next = $answer->{next};
        next if !defined($next);
        my $prefix = quotemeta(PREFIX);
        $next =~ s/^$prefix// or die "the list $path goes on elsewhere\n";
    }
    return \@items;
}

# One request to one server. Dies with {code, message, elsewhere, sent}: `elsewhere` when another node may know better.
sub _ask {
    my ($self, $server, $method, $path, $body, $key) = @_;

    my $agent = $self->_agent($server);
    my $request = HTTP::Request->new($method, "https://$server" . PREFIX . $path);
    $request->header(Authorization => "Bearer $self->{token}", Accept => 'application/json');
    $request->header('Idempotency-Key' => $key) if defined($key);
    if (defined($body)) {
        $request->header('Content-Type' => 'application/json');
        $request->content(encode_json($body));
    }
    my $response = $agent->request($request);
    if (($response->header('Client-Warning') // '') eq 'Internal response') {
        my $line = $response->status_line;
        $line =~ s/\s+at \S+ line \d+\.?\s*$//;
        _fail('unreachable', "no answer from the Gemel node at $server: $line", 1, $line !~ m/connect/i);
    }
    my $content = $response->decoded_content(charset => 'none');
    if ($response->code >= 400) {
        my $problem = eval { decode_json($content) } // {};
        my $code = $problem->{code} // 'status-' . $response->code;
        my $detail = $problem->{detail} // $response->status_line;
        # 5xx: this node cannot say now, for example because it does not reach the other ones.
        _fail($code, $detail, $response->code >= 500, 1);
    }
    return undef if !defined($content) || $content eq '';
    my $answer = eval { decode_json($content) };
    _fail('unreachable', "$server does not answer like a Gemel node", 1, 1) if $@;
    return $answer;
}

# Seconds since 1970 of a time as the API writes it (RFC 3339, UTC).
sub seconds {
    my ($text) = @_;

    my ($year, $month, $day, $hour, $minute, $second) = $text =~ m/^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)/ or return 0;
    return timegm($second, $minute, $hour, $day, $month - 1, $year);
}

sub _fail {
    my ($code, $message, $elsewhere, $sent) = @_;
    die Gemel::PVE::Error->new($code, $message, $elsewhere, $sent);
}

sub _agent {
    my ($self, $server) = @_;

    return $self->{agents}->{$server} if $self->{agents}->{$server};
    my ($ca, $name) = $self->_trusted_ca($server);
    my $agent = LWP::UserAgent->new(
        timeout => PATIENCE,
        max_size => MAX_ANSWER,
        max_redirect => 0,
        env_proxy => 0,
        agent => 'gemel-pve',
        ssl_opts => {
            verify_hostname => 1,
            SSL_ca_file => $ca,
            SSL_hostname => $name,
            SSL_verifycn_name => $name,
            SSL_version => '!SSLv2:!SSLv3:!TLSv1:!TLSv1_1',
        },
    );
    return $self->{agents}->{$server} = $agent;
}

# The file with the authority's certificate, fetched in the clear and believed only if the token names its SHA-256; and the
# name the node has a certificate of it for.
sub _trusted_ca {
    my ($self, $server) = @_;

    my $agent = LWP::UserAgent->new(timeout => PATIENCE, max_size => MAX_CA, max_redirect => 0, env_proxy => 0);
    my ($pem, $name);
    for my $authority (AUTHORITIES) {
        my ($path, $shown) = @$authority;
        my $response = $agent->get("http://$server$path");
        if (!$response->is_success) {
            # A node that is in no cluster has only the first one.
            last if $path ne '/ca.pem';
            _fail('unreachable', "no Gemel node answers at $server: " . $response->status_line, 1, 0);
        }
        next if !$self->_vouched($response->content);
        ($pem, $name) = ($response->content, $shown);
        last;
    }
    _fail('untrusted', "the API token was not made by the Gemel node at $server, nor in its cluster", 1, 0)
        if !defined($name);

    my $file = "$self->{folder}/ca-" . unpack('H*', $self->{expected}) . '.pem';
    mkdir($self->{folder}, 0755);
    my $new = "$file.$$";
    open(my $fh, '>', $new) or die "cannot write $new: $!\n";
    print {$fh} $pem;
    close($fh) or die "cannot write $new: $!\n";
    rename($new, $file) or die "cannot write $file: $!\n";
    return ($file, $name);
}

sub _vouched {
    my ($self, $pem) = @_;
    # One certificate and nothing else: another one behind it would be trusted unseen.
    return 0 if $pem !~ m/\A\s*-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+\/=\s]+)-----END CERTIFICATE-----\s*\z/;
    return sha256(decode_base64($1)) eq $self->{expected};
}

package Gemel::PVE::Error;

use overload '""' => sub { "$_[0]->{message} ($_[0]->{code})\n" }, bool => sub { 1 }, fallback => 1;

sub new {
    my ($class, $code, $message, $elsewhere, $sent) = @_;
    return bless { code => $code, message => $message, elsewhere => $elsewhere, sent => $sent }, $class;
}

1;

// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title QuorateRecorder: one value per key, once for ever.
/// @notice The last line of Quorate's exactly-once promise. Whatever happens off chain (a resent
/// transaction, two submitters, a restored backup, a stolen key), a key that was recorded keeps its
/// first value: nobody, the owner included, can change or delete a record.
/// @dev A key is computed off chain as
///   keccak256(abi.encode(DOMAIN, clusterId, txId))
/// with DOMAIN = keccak256("quorate/record/v1") as bytes32, and clusterId and txId as strings.
/// Hashing there keeps ids out of calldata (32 bytes each, whatever their length); abi.encode is
/// injective, so two different (clusterId, txId) pairs cannot share an encoding.
/// No upgradeability, no pause, no ether: each would be a way to take the promise back.
contract QuorateRecorder {
    /// @dev One storage slot (136 of 256 bits), so that a record costs one cold SSTORE. `set` is
    /// needed because 0 is a legal value and block 0 a legal block.
    struct Record {
        uint64 value;
        uint64 blockNumber;
        bool set;
    }

    /// @notice First word of every key's preimage; also tells a client that this is a recorder.
    bytes32 public constant DOMAIN = keccak256("quorate/record/v1");

    /// @notice Most keys in one batch. Above it the gas per key stops falling.
    uint256 public constant MAX_BATCH = 200;

    /// @notice Appoints the submitter. Has no power over records.
    address public owner;

    /// @notice The nominated next owner; zero when there is none.
    address public pendingOwner;

    /// @notice The only account that may record.
    address public submitter;

    mapping(bytes32 key => Record) private _records;

    /// @notice A key got its value. Emitted at most once per key, ever.
    event Recorded(bytes32 indexed key, uint64 value);

    /// @notice A key already had a value; the new one was refused (it may be the same).
    event Duplicate(bytes32 indexed key, uint64 standing, uint64 refused);

    /// @notice The submitter changed. `previous` is zero at deployment.
    event SubmitterChanged(address indexed previous, address indexed current);

    /// @notice An owner was nominated and must accept.
    event OwnershipTransferStarted(address indexed owner, address indexed pendingOwner);

    /// @notice The owner changed. `previous` is zero at deployment.
    event OwnershipTransferred(address indexed previous, address indexed current);

    error NotSubmitter(address caller);
    error NotOwner(address caller);
    error NotPendingOwner(address caller);
    error ZeroAddress();
    error EmptyBatch();
    error LengthMismatch(uint256 keys, uint256 values);
    error BatchTooLarge(uint256 given, uint256 max);

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    modifier onlySubmitter() {
        if (msg.sender != submitter) revert NotSubmitter(msg.sender);
        _;
    }

    /// @param initialOwner Appoints submitters from now on.
    /// @param initialSubmitter May record from now on.
    constructor(address initialOwner, address initialSubmitter) {
        if (initialOwner == address(0) || initialSubmitter == address(0)) revert ZeroAddress();
        owner = initialOwner;
        submitter = initialSubmitter;
        emit OwnershipTransferred(address(0), initialOwner);
        emit SubmitterChanged(address(0), initialSubmitter);
    }

    /// @notice Records one value. A key that is already set is left alone and reported as Duplicate.
    /// @param key The key, see the contract's comment.
    /// @param value Any u64, 0 included.
    function record(bytes32 key, uint64 value) external onlySubmitter {
        _record(key, value);
    }

    /// @notice Records many values. Keys that are already set are skipped with a Duplicate event:
    /// one repeated key must never cost the others of its batch their transaction.
    /// @param keys The keys, 1 to MAX_BATCH; one that appears twice counts as a duplicate the second time.
    /// @param values The values, one per key.
    function recordBatch(bytes32[] calldata keys, uint64[] calldata values) external onlySubmitter {
        uint256 count = keys.length;
        if (count != values.length) revert LengthMismatch(count, values.length);
        if (count == 0) revert EmptyBatch();
        if (count > MAX_BATCH) revert BatchTooLarge(count, MAX_BATCH);
        for (uint256 i = 0; i < count; ++i) {
            _record(keys[i], values[i]);
        }
    }

    /// @notice What is recorded under a key.
    /// @return recorded Whether there is a record; the other two are zero when there is none.
    /// @return value The value, for ever.
    /// @return blockNumber The block that recorded it.
    function recordOf(bytes32 key)
        external
        view
        returns (bool recorded, uint64 value, uint64 blockNumber)
    {
        Record storage standing = _records[key];
        return (standing.set, standing.value, standing.blockNumber);
    }

    /// @notice What is recorded under each of many keys: one call, hence one state, for a whole batch.
    /// @param keys As many as the caller's node will run for; the same key may be asked for twice.
    /// @return records One per key, in their order; of one without a record all fields are zero.
    function recordsOf(bytes32[] calldata keys) external view returns (Record[] memory records) {
        records = new Record[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            records[i] = _records[keys[i]];
        }
    }

    /// @notice Appoints another submitter, from the next transaction on.
    /// @param newSubmitter Not zero.
    function setSubmitter(address newSubmitter) external onlyOwner {
        if (newSubmitter == address(0)) revert ZeroAddress();
        emit SubmitterChanged(submitter, newSubmitter);
        submitter = newSubmitter;
    }

    /// @notice Nominates the next owner, who must call acceptOwnership; a mistyped address thus
    /// costs nothing. Nominating again replaces the nomination.
    /// @param newOwner Not zero.
    function transferOwnership(address newOwner) external onlyOwner {
        if (newOwner == address(0)) revert ZeroAddress();
        pendingOwner = newOwner;
        emit OwnershipTransferStarted(owner, newOwner);
    }

    /// @notice Completes the handover. Only the nominated owner may call it.
    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert NotPendingOwner(msg.sender);
        emit OwnershipTransferred(owner, msg.sender);
        owner = msg.sender;
        delete pendingOwner;
    }

    function _record(bytes32 key, uint64 value) private {
        Record storage standing = _records[key];
        if (standing.set) {
            emit Duplicate(key, standing.value, value);
            return;
        }
        _records[key] = Record({value: value, blockNumber: uint64(block.number), set: true});
        emit Recorded(key, value);
    }
}
